// Reads the swapped-out pages of a frozen tree back into memory: a head start for a wake that is foreseen. Called by the
// process driver while the tree is frozen and only then; it reads /proc/PID/mem of other users' processes, so it needs root.
import { type FileHandle, open, readFile } from 'node:fs/promises';

/** Pages mapped by whole ranges; `start` and `end` are byte addresses. */
interface Range {
	readonly start: number;
	readonly end: number;
}

const CHUNK_BYTES = 256 * 1024;
const IN_FLIGHT = 4;
const PAGE_BYTES = 4096;
const PAGEMAP_ENTRY_BYTES = 8;
/** Pagemap entries read at a time (512 KiB of buffer). */
const ENTRIES_PER_READ = 65_536;
/** Bit 62 of a pagemap entry as a bit of its last byte (little endian). */
const SWAPPED_BIT_OF_LAST_BYTE = 0x40;
/** Mappings whose reading fails or makes no sense. */
const SKIPPED = /\[(vvar|vvar_vclock|vdso|vsyscall)\]/;

/** Reads everything swapped of `pids` back; returns the bytes read. Stops early, without an error, when the signal aborts. */
export async function prefetch(pids: readonly number[], options: { readonly signal: AbortSignal }): Promise<{ bytes: number }> {
	let bytes = 0;
	for (const pid of pids) {
		if (options.signal.aborted) break;
		try {
			bytes += await prefetchProcess(pid, options.signal);
		} catch (error) {
			// The process ended meanwhile (killed frozen): nothing of it is left to be read.
			if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
		}
	}
	return { bytes };
}

async function prefetchProcess(pid: number, signal: AbortSignal): Promise<number> {
	const maps = parseMaps(await readFile(`/proc/${pid}/maps`, 'utf8'));
	await using pagemap = await open(`/proc/${pid}/pagemap`, 'r');
	await using memory = await open(`/proc/${pid}/mem`, 'r');
	const chunks = swappedChunks(pagemap, maps, signal);
	let bytes = 0;
	const reader = async (): Promise<void> => {
		const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
		for (;;) {
			const next = await chunks.next();
			if (next.done === true || signal.aborted) return;
			const { start, end } = next.value;
			// A page that cannot be read (a guard page, a device mapping) is simply not prefetched.
			const read = await memory.read(buffer, 0, end - start, start).catch(() => ({ bytesRead: 0 }));
			bytes += read.bytesRead;
		}
	};
	await Promise.all(Array.from({ length: IN_FLIGHT }, reader));
	return bytes;
}

/** Readable mappings of a `/proc/PID/maps` text that may hold swapped pages. */
export function parseMaps(text: string): Range[] {
	const ranges: Range[] = [];
	for (const line of text.split('\n')) {
		const [, from, to, readable] = /^([0-9a-f]+)-([0-9a-f]+) (.)/.exec(line) ?? [];
		if (from === undefined || to === undefined || readable !== 'r' || SKIPPED.test(line)) continue;
		const end = Number.parseInt(to, 16);
		if (Number.isSafeInteger(end)) ranges.push({ start: Number.parseInt(from, 16), end });
	}
	return ranges;
}

/** Runs of swapped pages, cut into chunks, in address order. */
async function* swappedChunks(pagemap: FileHandle, maps: readonly Range[], signal: AbortSignal): AsyncGenerator<Range> {
	const buffer = Buffer.allocUnsafeSlow(ENTRIES_PER_READ * PAGEMAP_ENTRY_BYTES);
	for (const map of maps) {
		for (let at = map.start; at < map.end && !signal.aborted; at += ENTRIES_PER_READ * PAGE_BYTES) {
			const wanted = Math.min(ENTRIES_PER_READ, (map.end - at) / PAGE_BYTES) * PAGEMAP_ENTRY_BYTES;
			const { bytesRead } = await pagemap.read(buffer, 0, wanted, (at / PAGE_BYTES) * PAGEMAP_ENTRY_BYTES);
			yield* swappedRuns(buffer.subarray(0, bytesRead), at);
		}
	}
}

/** Runs of entries with the swapped bit in `entries`, whose first one describes the page at `base`. */
export function* swappedRuns(entries: Uint8Array, base: number): Generator<Range> {
	const pages = Math.floor(entries.length / PAGEMAP_ENTRY_BYTES);
	let start = -1;
	for (let page = 0; page <= pages; page += 1) {
		const swapped = page < pages && ((entries[page * PAGEMAP_ENTRY_BYTES + 7] ?? 0) & SWAPPED_BIT_OF_LAST_BYTE) !== 0;
		if (swapped && start < 0) start = page;
		const full = start >= 0 && (page - start) * PAGE_BYTES >= CHUNK_BYTES;
		if (start >= 0 && (!swapped || full)) {
			yield { start: base + start * PAGE_BYTES, end: base + page * PAGE_BYTES };
			start = swapped ? page : -1;
		}
	}
}
