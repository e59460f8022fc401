// Frames of the link: 4 bytes of big-endian length, then that many bytes of UTF-8 JSON. No I/O: bytes in, values out.
// Used by the guest agent and by the host's link driver. Memory grows with what has arrived, never with what is announced.
import { MvmError } from './errors/mvm-error.ts';
import { decodeUtf8, encodeUtf8 } from './text.ts';

/** The most bytes of JSON one frame may carry. */
export const MAX_FRAME_BYTES = 262_144;
const HEADER_BYTES = 4;
const FIRST_ALLOCATION = 1024;

/** One frame. Throws FRAME_TOO_LARGE when the JSON is over the limit, INTERNAL when the value has no JSON. */
export function encodeFrame(value: unknown): Uint8Array {
	const json: string | undefined = JSON.stringify(value);
	if (json === undefined) throw new MvmError('INTERNAL', 'a value without JSON cannot be framed');
	const body = encodeUtf8(json);
	if (body.length > MAX_FRAME_BYTES) throw tooLarge(body.length);
	const frame = new Uint8Array(HEADER_BYTES + body.length);
	new DataView(frame.buffer).setUint32(0, body.length);
	frame.set(body, HEADER_BYTES);
	return frame;
}

/**
 * A push parser: bytes in any portions in, whole values out.
 *
 *   header ──4 bytes──▶ body ──length bytes──▶ header …
 *      └── length 0 or over the limit ──▶ broken      └── not UTF-8, not JSON ──▶ broken
 *
 * The values it yields do not depend on how the bytes were cut: those before a fault are returned, and the next call
 * throws. A broken parser throws the same error for ever; the stream cannot be trusted again.
 */
export class FrameParser {
	#buffer: Uint8Array = new Uint8Array(FIRST_ALLOCATION);
	#filled = 0;
	#broken: MvmError | undefined;

	/**
	 * Values of the frames these bytes complete. With `maxFrames` it stops after that many and keeps the bytes behind
	 * them for `rest()`, for streams that turn raw after a frame. Throws FRAME_TOO_LARGE or FRAME_MALFORMED.
	 */
	push(bytes: Uint8Array, options: { readonly maxFrames?: number } = {}): unknown[] {
		if (this.#broken) throw this.#broken;
		this.#append(bytes);
		const max = options.maxFrames ?? Number.POSITIVE_INFINITY;
		const values: unknown[] = [];
		let at = 0;
		try {
			while (values.length < max) {
				const frame = this.#frameAt(at);
				if (frame === undefined) break;
				values.push(parseBody(frame));
				at += HEADER_BYTES + frame.length;
			}
		} catch (error) {
			this.#broken = error as MvmError;
			this.#buffer = new Uint8Array(0);
			this.#filled = 0;
			if (values.length === 0) throw error;
			return values;
		}
		this.#buffer.copyWithin(0, at, this.#filled);
		this.#filled -= at;
		return values;
	}

	/** Takes the bytes that belong to no frame yet; the parser is empty afterwards. */
	rest(): Uint8Array {
		const rest = this.#buffer.slice(0, this.#filled);
		this.#filled = 0;
		return rest;
	}

	/** To be called when the stream ends: throws FRAME_MALFORMED when it ended inside a frame. */
	finish(): void {
		if (this.#broken) throw this.#broken;
		if (this.#filled > 0) throw malformed('the stream ended inside a frame', { bytes: this.#filled });
	}

	/** The body of the frame at an offset, or nothing while bytes are missing. The length is judged as soon as it is there. */
	#frameAt(at: number): Uint8Array | undefined {
		const available = this.#filled - at;
		if (available < HEADER_BYTES) return undefined;
		const length = new DataView(this.#buffer.buffer, this.#buffer.byteOffset).getUint32(at);
		if (length === 0) throw malformed('a frame of length 0');
		if (length > MAX_FRAME_BYTES) throw tooLarge(length);
		if (available < HEADER_BYTES + length) return undefined;
		return this.#buffer.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
	}

	/** Doubles when full, so that a frame fed byte by byte costs no more than one fed whole. */
	#append(bytes: Uint8Array): void {
		const needed = this.#filled + bytes.length;
		if (needed > this.#buffer.length) {
			const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
			grown.set(this.#buffer.subarray(0, this.#filled));
			this.#buffer = grown;
		}
		this.#buffer.set(bytes, this.#filled);
		this.#filled = needed;
	}
}

function parseBody(body: Uint8Array): unknown {
	let text: string;
	try {
		text = decodeUtf8(body);
	} catch (cause) {
		throw malformed('a frame is not UTF-8', { bytes: body.length }, cause);
	}
	try {
		return JSON.parse(text);
	} catch (cause) {
		throw malformed('a frame is not JSON', { bytes: body.length }, cause);
	}
}

const tooLarge = (bytes: number): MvmError =>
	new MvmError('FRAME_TOO_LARGE', 'a frame is over the limit', { details: { bytes, max_bytes: MAX_FRAME_BYTES } });

const malformed = (message: string, details: Record<string, unknown> = {}, cause?: unknown): MvmError =>
	new MvmError('FRAME_MALFORMED', message, { details, cause });
