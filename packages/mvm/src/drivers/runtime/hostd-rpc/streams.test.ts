import { Readable } from 'node:stream';
import { MvmError, toProblem } from '@mvm/protocol';
import { expect, it } from 'vitest';
import type { DataEntry } from '../../../ports/runtime.ts';
import { entriesOf, entryFrames } from './entries.ts';
import { documentFrame, type Frame, readFrames } from './frames.ts';

const base = { mode: 0o644, uid: 1000, gid: 1000, mtimeMs: 5 };
async function* bytes(...parts: string[]): AsyncGenerator<Uint8Array> {
	for (const part of parts) yield Buffer.from(part);
}
async function* entries(): AsyncGenerator<DataEntry> {
	yield { ...base, path: 'd', kind: 'dir', bytes: 0 };
	yield { ...base, path: 'd/a', kind: 'file', bytes: 11, content: bytes('hello', ' world') };
	yield { ...base, path: 'empty', kind: 'file', bytes: 0, content: bytes() };
	yield { ...base, path: 'l', kind: 'symlink', bytes: 0, linkText: 'd/a' };
}
async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
	const items: T[] = [];
	for await (const item of stream) items.push(item);
	return items;
}
async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
	return Buffer.concat(await all(stream));
}
const frames = (bytes: Buffer, size: number): AsyncGenerator<Frame> =>
	readFrames(
		Readable.from(Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size))),
	);
const text = async (entry: DataEntry): Promise<string> => (await collect(entry.content ?? bytes())).toString();

for (const size of [1, 7, 100_000])
	it(`carries entries however the bytes are cut (${size})`, async () => {
		const end = documentFrame('D', { refused: [] });
		const sent = Buffer.concat([await collect(entryFrames(entries())), end]);
		let last: unknown;
		const seen: string[] = [];
		for await (const entry of entriesOf(frames(sent, size), (document) => {
			last = document;
		}))
			seen.push(`${entry.kind} ${entry.path} ${entry.kind === 'file' ? await text(entry) : (entry.linkText ?? '')}`);
		expect(seen).toEqual(['dir d ', 'file d/a hello world', 'file empty ', 'symlink l d/a']);
		expect(last).toEqual({ refused: [] });
	});

it('skips content that nobody read', async () => {
	const sent = Buffer.concat([await collect(entryFrames(entries())), documentFrame('D', {})]);
	const paths: string[] = [];
	for await (const { path } of entriesOf(frames(sent, 3), () => {})) paths.push(path);
	expect(paths).toEqual(['d', 'd/a', 'empty', 'l']);
});

it('throws the error that ends a stream, and never takes a cut stream for a whole one', async () => {
	const problem = documentFrame('X', toProblem(new MvmError('CHECKPOINT_FAILED', 'it moved')));
	const good = await collect(entryFrames(entries()));
	const run = (sent: Buffer): Promise<unknown> => all(entriesOf(frames(sent, 9), () => {}));
	await expect(run(Buffer.concat([good, problem]))).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
	await expect(run(good)).rejects.toMatchObject({ code: 'FRAME_MALFORMED' });
	await expect(run(good.subarray(0, good.length - 2))).rejects.toMatchObject({ code: 'FRAME_MALFORMED' });
	await expect(run(Buffer.from('Z\0\0\0\0'))).rejects.toMatchObject({ code: 'FRAME_MALFORMED' });
	await expect(run(Buffer.from('C\xff\xff\xff\xff', 'latin1'))).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' });
	await expect(run(Buffer.concat([documentFrame('E', { path: 'x' })]))).rejects.toMatchObject({ code: 'FRAME_MALFORMED' });
});
