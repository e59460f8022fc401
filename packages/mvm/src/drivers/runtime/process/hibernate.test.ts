import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMvmError } from '@mvm/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pageOut } from './hibernate.ts';
import { readInstanceMemory, readSwapAllowance } from './hibernate-memory.ts';
import { parseMaps, swappedRuns } from './hibernate-prefetch.ts';

const MIB = 2 ** 20;
let root: string;
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), 'mvm-hibernate-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const file = (name: string, text: string | number): Promise<void> => writeFile(join(root, name), `${text}\n`);
const hostSwap = (totalMib: number, freeMib: number): Promise<void> =>
	file('meminfo', `SwapTotal: ${totalMib * 1024} kB\nSwapFree: ${freeMib * 1024} kB`);
const refusal = (run: Promise<unknown>): Promise<unknown> => run.then(() => 'went through').catch((error: unknown) => error);

describe('room for a page-out', () => {
	it('is refused without swap, with the figures, before anything is written', async () => {
		await hostSwap(0, 0);
		await file('memory.stat', `total_rss ${64 * MIB}\ntotal_swap 0`);
		await file('memory.usage_in_bytes', 70 * MIB);
		await file('memory.swappiness', 0);
		const group = { version: 1, path: root } as const;
		const error = await refusal(pageOut(group, { signal: AbortSignal.timeout(5000), procRoot: root }));
		expect(isMvmError(error, 'SNAPSHOT_UNAVAILABLE') && error.details).toMatchObject({
			charged_bytes: 70 * MIB,
			needed_bytes: 64 * MIB,
			limited_by: 'no swap is on',
		});
		expect(await readFile(join(root, 'memory.swappiness'), 'utf8')).toBe('0\n');
	});

	it('is cut by a group limit that grants memory but no swap, the way container runtimes say so', async () => {
		await hostSwap(4096, 4096);
		await file('memory.stat', 'total_swap 0');
		await file('memory.limit_in_bytes', 512 * MIB);
		await file('memory.memsw.limit_in_bytes', 512 * MIB);
		const room = await readSwapAllowance({ version: 1, path: root }, root);
		expect(room.freeBytes).toBe(0);
		expect(room.limitedBy).toContain(root);
	});

	it('is what a v2 limit leaves', async () => {
		await hostSwap(4096, 4096);
		await file('memory.swap.max', 100 * MIB);
		await file('memory.swap.current', 30 * MIB);
		expect((await readSwapAllowance({ version: 2, path: root }, root)).freeBytes).toBe(70 * MIB);
	});
});

it('reads memory of a tree without a control group from its processes', async () => {
	const memory = await readInstanceMemory(undefined, [process.pid]);
	expect(memory.residentBytes).toBeGreaterThan(10 * MIB);
	expect(memory.chargedBytes).toBeLessThanOrEqual(memory.residentBytes);
});

describe('what a prefetch reads', () => {
	it('leaves out mappings that cannot be read and those of the kernel', () => {
		const maps = [
			'00400000-00402000 r-xp 00000000 08:01 5 /usr/bin/node',
			'10000000-20000000 ---p 00000000 00:00 0',
			'7ffff7fc1000-7ffff7fc3000 r-xp 00000000 00:00 0 [vdso]',
			'ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall]',
			'7f0000000000-7f0000003000 rw-p 00000000 00:00 0 [heap]',
		].join('\n');
		expect(parseMaps(maps)).toEqual([
			{ start: 0x400000, end: 0x402000 },
			{ start: 0x7f0000000000, end: 0x7f0000003000 },
		]);
	});

	it('joins swapped pages to runs and cuts them at the chunk size', () => {
		const pages = 130;
		const entries = new Uint8Array(pages * 8);
		const swap = (page: number): number => (entries[page * 8 + 7] = 0x40);
		for (const page of [1, 2, 5]) swap(page);
		for (let page = 10; page < 80; page += 1) swap(page);
		swap(129);
		const at = (page: number): number => 0x7000_0000_0000 + page * 4096;
		const runs = [...swappedRuns(entries, at(0))].map(({ start, end }) => [(start - at(0)) / 4096, (end - at(0)) / 4096]);
		expect(runs).toEqual([
			[1, 3],
			[5, 6],
			[10, 74],
			[74, 80],
			[129, 130],
		]);
	});
});
