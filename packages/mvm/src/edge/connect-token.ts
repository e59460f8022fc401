// An OpenClaw WebSocket client authenticates in its first message, not in a header: `{type: "req", method: "connect", params:
// {auth: {token}}}`. This puts the gateway's own token there, whatever the client wrote, and lets every other byte pass.
// Sits between client and instance in gateway.ts; RFC 6455 part 5 for the frames. Reads a client, so everything is capped.
import { Transform, type TransformCallback } from 'node:stream';
import { MvmError } from '@mvm/protocol';

/** A connect message is some hundred bytes; one that never ends is not one. */
const MAX_MESSAGE_BYTES = 64 * 1024;
const TEXT = 1;
const FIRST_CONTROL = 8;

interface Frame {
	readonly isFinal: boolean;
	readonly opcode: number;
	readonly payload: Buffer;
	/** The frame with its head. */
	readonly bytes: Buffer;
}

export class ConnectTokenStream extends Transform {
	readonly #token: string;
	readonly #random: (bytes: number) => Uint8Array;
	#waiting: Buffer = Buffer.alloc(0);
	#isThrough = false;

	constructor(token: string, random: (bytes: number) => Uint8Array) {
		super();
		this.#token = token;
		this.#random = random;
	}

	override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
		if (this.#isThrough) {
			done(null, chunk);
			return;
		}
		try {
			this.#waiting = Buffer.concat([this.#waiting, chunk]);
			for (let frame = readFrame(this.#waiting); frame !== undefined; frame = readFrame(this.#waiting)) {
				this.#waiting = this.#waiting.subarray(frame.bytes.length);
				this.push(frame.opcode >= FIRST_CONTROL ? frame.bytes : this.#first(frame));
				if (!this.#isThrough) continue;
				this.push(this.#waiting);
				this.#waiting = Buffer.alloc(0);
				break;
			}
			done();
		} catch (error) {
			done(error as Error);
		}
	}

	/** The first message of data; what follows it is not looked at. */
	#first(frame: Frame): Buffer {
		if (frame.opcode !== TEXT || !frame.isFinal) throw broken('the first message is not one whole frame of text');
		this.#isThrough = true;
		const message = parse(frame.payload);
		if (message === undefined || message['method'] !== 'connect') return frame.bytes; // the gateway refuses it by itself
		const params = typeof message['params'] === 'object' && message['params'] !== null ? message['params'] : {};
		const text = JSON.stringify({ ...message, params: { ...params, auth: { token: this.#token } } });
		return writeTextFrame(Buffer.from(text), Buffer.from(this.#random(4)));
	}
}

/** The frame at the start of the bytes; undefined while it is not complete. */
function readFrame(bytes: Buffer): Frame | undefined {
	const [first, second] = bytes;
	if (first === undefined || second === undefined) return undefined;
	if ((first & 0x70) !== 0) throw broken('an extension that was not agreed on');
	if ((second & 0x80) === 0) throw broken('a client frame without a mask');
	const short = second & 0x7f;
	const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
	const headBytes = 2 + lengthBytes + 4;
	if (bytes.length < headBytes) return undefined;
	const length = lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
	if (length > MAX_MESSAGE_BYTES) throw broken(`a first message of ${length} bytes`);
	if (bytes.length < headBytes + length) return undefined;
	const payload = masked(bytes.subarray(headBytes, headBytes + length), bytes.subarray(headBytes - 4, headBytes));
	return { isFinal: (first & 0x80) !== 0, opcode: first & 0x0f, payload, bytes: bytes.subarray(0, headBytes + length) };
}

function writeTextFrame(payload: Buffer, mask: Buffer): Buffer {
	const head = Buffer.alloc(payload.length < 126 ? 2 : 4);
	head[0] = 0x80 | TEXT;
	if (payload.length < 126) head[1] = 0x80 | payload.length;
	else if (payload.length <= 0xffff) {
		head[1] = 0x80 | 126;
		head.writeUInt16BE(payload.length, 2);
	} else throw broken('a first message that grows over its limit');
	return Buffer.concat([head, mask, masked(payload, mask)]);
}

function masked(payload: Buffer, mask: Buffer): Buffer {
	return Buffer.from(payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0)));
}

function parse(payload: Buffer): Record<string, unknown> | undefined {
	try {
		const value: unknown = JSON.parse(payload.toString('utf8'));
		return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
	} catch {
		return undefined;
	}
}

const broken = (what: string): MvmError => new MvmError('INVALID_DOCUMENT', `the WebSocket begins with ${what}`);
