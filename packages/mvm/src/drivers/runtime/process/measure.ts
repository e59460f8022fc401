// How much an instance keeps in `/data` where the disk is a plain folder: counted by walking, now and then, because nothing
// enforces it there. Looks only, follows nothing; a folder the guest made unreadable counts as itself.
import type { Dirent } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

const BLOCK_BYTES = 512;
/** A tree with more than this is expensive enough to be called full of entries; the count goes no further. */
const MAX_ENTRIES = 500_000;

/** Bytes on disk below `root`, the root included. Entries that vanish meanwhile are left out. */
export async function measureFolder(root: string, options: { signal: AbortSignal }): Promise<number> {
	let bytes = await sizeOf(root);
	let entries = 0;
	const waiting = [root];
	for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
		for await (const entry of listing(folder)) {
			options.signal.throwIfAborted();
			entries += 1;
			if (entries > MAX_ENTRIES) return bytes;
			const path = join(folder, entry.name);
			bytes += await sizeOf(path);
			if (entry.isDirectory()) waiting.push(path);
		}
	}
	return bytes;
}

async function* listing(folder: string): AsyncGenerator<Dirent> {
	try {
		yield* await opendir(folder);
	} catch {
		// Gone, or closed by the guest to its own user: what it holds is not counted.
	}
}

async function sizeOf(path: string): Promise<number> {
	try {
		return (await lstat(path)).blocks * BLOCK_BYTES;
	} catch {
		return 0;
	}
}
