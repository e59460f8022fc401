// `/data` entries as frames and back, for both directions of both streams.
import { fromProblem, MvmError } from '@mvm/protocol';
import type { DataEntry } from '../../../ports/runtime.ts';
import { chunkFrames, documentFrame, type Frame, parseDocument } from './frames.ts';
import { EntryHeader } from './methods.ts';

/** Frames of a stream of entries; the caller adds what comes before and after. */
export async function* entryFrames(entries: AsyncIterable<DataEntry>): AsyncGenerator<Buffer> {
	for await (const { content, ...header } of entries) {
		yield documentFrame('E', EntryHeader.encode(header));
		if (content !== undefined) for await (const chunk of content) yield* chunkFrames(chunk);
	}
}

/**
 * Entries out of frames. Each file's content must be consumed before the next entry is pulled; what was left is skipped.
 * A `D` frame ends the stream and goes to `onEnd`; an `X` frame is thrown as the error it carries.
 */
export async function* entriesOf(frames: AsyncGenerator<Frame>, onEnd: (document: unknown) => void): AsyncGenerator<DataEntry> {
	let next = await frames.next();
	while (next.done !== true) {
		const frame = next.value;
		if (frame.kind === 'X') throw fromProblem(parseDocument(frame));
		if (frame.kind === 'D') {
			onEnd(parseDocument(frame));
			// To the very end: hanging up behind the last frame would look like a reader that went away.
			for await (const _nothing of frames);
			return;
		}
		if (frame.kind !== 'E') throw new MvmError('FRAME_MALFORMED', 'bytes without an entry in front of them');
		const header = EntryHeader.parse(parseDocument(frame), { code: 'FRAME_MALFORMED', what: 'an entry' });
		let left = header.bytes;
		let peeked: IteratorResult<Frame> | undefined;
		async function* content(): AsyncGenerator<Uint8Array> {
			while (left > 0) {
				const part = await frames.next();
				if (part.done === true || part.value.kind !== 'C') {
					peeked = part;
					if (part.done !== true && part.value.kind === 'X') throw fromProblem(parseDocument(part.value));
					throw new MvmError('FRAME_MALFORMED', 'a file ended early', { details: { path: header.path, missing_bytes: left } });
				}
				left -= part.value.payload.length;
				if (left < 0)
					throw new MvmError('FRAME_MALFORMED', 'a file is longer than announced', { details: { path: header.path } });
				yield part.value.payload;
			}
		}
		if (header.kind === 'file') {
			const body = content();
			yield { ...header, content: body };
			for await (const _rest of body);
		} else yield header;
		next = peeked ?? (await frames.next());
	}
	throw new MvmError('FRAME_MALFORMED', 'the stream ended without its last frame');
}
