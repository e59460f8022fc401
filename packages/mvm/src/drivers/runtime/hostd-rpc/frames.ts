// Frames of hostd's streams: one byte of kind, four of big-endian length, then the payload. Documents and raw bytes share
// one stream, and an error can follow half a file. No I/O of its own.
import { MvmError } from '@mvm/protocol';

/** E entry header, C raw chunk, D document that ends or starts the stream, L progress line, X problem document. */
export type FrameKind = 'E' | 'C' | 'D' | 'L' | 'X';

export interface Frame {
	readonly kind: FrameKind;
	readonly payload: Buffer;
}

const HEADER_BYTES = 5;
/** Longer chunks are cut by the writer. */
export const MAX_PAYLOAD_BYTES = 1024 * 1024;
const KINDS = new Set<string>(['E', 'C', 'D', 'L', 'X']);

/** One document as a frame. */
export function documentFrame(kind: Exclude<FrameKind, 'C'>, document: unknown): Buffer {
	return rawFrame(kind, Buffer.from(JSON.stringify(document)));
}

/** Bytes as chunk frames. */
export function* chunkFrames(bytes: Uint8Array): Generator<Buffer> {
	for (let at = 0; at < bytes.length; at += MAX_PAYLOAD_BYTES) yield rawFrame('C', bytes.subarray(at, at + MAX_PAYLOAD_BYTES));
}

function rawFrame(kind: FrameKind, payload: Uint8Array): Buffer {
	if (payload.length > MAX_PAYLOAD_BYTES)
		throw new MvmError('FRAME_TOO_LARGE', 'a document does not fit into one frame', { details: { bytes: payload.length } });
	const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
	frame.write(kind, 0, 'latin1');
	frame.writeUInt32BE(payload.length, 1);
	frame.set(payload, HEADER_BYTES);
	return frame;
}

/** Cuts a byte stream into frames. Throws FRAME_TOO_LARGE or FRAME_MALFORMED; a stream that ends inside a frame is malformed. */
export async function* readFrames(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
	let held: Buffer = Buffer.alloc(0);
	for await (const chunk of bytes) {
		held = held.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : Buffer.concat([held, chunk]);
		for (;;) {
			if (held.length < HEADER_BYTES) break;
			const kind = held.toString('latin1', 0, 1);
			const length = held.readUInt32BE(1);
			if (!KINDS.has(kind)) throw new MvmError('FRAME_MALFORMED', 'a frame has no known kind');
			if (length > MAX_PAYLOAD_BYTES)
				throw new MvmError('FRAME_TOO_LARGE', 'a frame announces too much', { details: { length } });
			if (held.length < HEADER_BYTES + length) break;
			yield { kind: kind as FrameKind, payload: held.subarray(HEADER_BYTES, HEADER_BYTES + length) };
			held = held.subarray(HEADER_BYTES + length);
		}
	}
	if (held.length > 0) throw new MvmError('FRAME_MALFORMED', 'the stream ended inside a frame');
}

/** The JSON of a document frame; throws FRAME_MALFORMED. */
export function parseDocument(frame: Frame): unknown {
	try {
		return JSON.parse(frame.payload.toString('utf8'));
	} catch (cause) {
		throw new MvmError('FRAME_MALFORMED', 'a frame holds no JSON', { cause });
	}
}
