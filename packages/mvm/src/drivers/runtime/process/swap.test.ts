import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeSwap, parseSwaps } from './swap.ts';
import { decodeProcPath } from './swap-proc.ts';

let root: string;
const zswap = 'sys/module/zswap/parameters/enabled';
const pageCluster = 'proc/sys/vm/page-cluster';
const put = async (path: string, text: string): Promise<void> => {
	await mkdir(join(root, path, '..'), { recursive: true });
	await writeFile(join(root, path), text);
};
const read = async (path: string): Promise<string> => (await readFile(join(root, path), 'utf8')).trim();
const signal = AbortSignal.timeout(30_000);
const swapWith = (switches: { zswap?: boolean; pageCluster?: number }) =>
	makeSwap({ dataDir: join(root, 'data'), sizeMib: 0, switches, systemRoot: root });

beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), 'mvm-swap-'));
	await put(zswap, 'N\n');
	await put(pageCluster, '3\n');
	await put('proc/sys/kernel/random/boot_id', 'first-boot\n');
	await put('proc/swaps', 'Filename\tType\tSize\tUsed\tPriority\n');
	await put('proc/meminfo', 'SwapTotal: 0 kB\nSwapFree: 0 kB\n');
});
afterEach(() => rm(root, { recursive: true, force: true }));

it('reads the swap areas of the kernel, spaces in paths included', () => {
	const text =
		'Filename Type Size Used Priority\n/data\\040dir/hibernate.swap file 1048572 2048 -2\n/dev/sda2 partition 10 0 -3\n';
	expect(parseSwaps(text)).toEqual([
		{ path: '/data dir/hibernate.swap', totalBytes: 1048572 * 1024, usedBytes: 2048 * 1024 },
		{ path: '/dev/sda2', totalBytes: 10240, usedBytes: 0 },
	]);
	expect(decodeProcPath('a\\134b\\012c')).toBe('a\\b\nc');
});

it('touches no switch that nobody opted into', async () => {
	await swapWith({}).ensure({ signal });
	expect([await read(zswap), await read(pageCluster)]).toEqual(['N', '3']);
});

it('remembers the values before, across restarts, and puts them back', async () => {
	await swapWith({ zswap: true, pageCluster: 0 }).ensure({ signal });
	const again = swapWith({ zswap: true, pageCluster: 5 });
	const status = await again.ensure({ signal });
	expect([await read(zswap), await read(pageCluster)]).toEqual(['Y', '5']);
	expect(status.switches).toEqual([
		{ name: 'zswap', current: 'Y', before: 'N' },
		{ name: 'page_cluster', current: '5', before: '3' },
	]);
	await again.restoreSwitches();
	expect([await read(zswap), await read(pageCluster)]).toEqual(['N', '3']);
	await again.restoreSwitches();
	expect(await read(pageCluster)).toBe('3');
});

it('leaves a switch alone that somebody else has moved since', async () => {
	const swap = swapWith({ pageCluster: 0 });
	await swap.ensure({ signal });
	await put(pageCluster, '7\n');
	await swap.restoreSwitches();
	expect(await read(pageCluster)).toBe('7');
});

it('forgets what it recorded before a reboot', async () => {
	await swapWith({ pageCluster: 0 }).ensure({ signal });
	await put('proc/sys/kernel/random/boot_id', 'second-boot\n');
	await put(pageCluster, '0\n');
	await swapWith({}).restoreSwitches();
	expect(await read(pageCluster)).toBe('0');
});

it('makes nothing beside swap that is there already, and says whose it is', async () => {
	await put('proc/swaps', 'Filename Type Size Used Priority\n/dev/sda2 partition 2048 0 -3\n');
	const status = await makeSwap({ dataDir: join(root, 'data'), sizeMib: 64, switches: {}, systemRoot: root }).ensure({ signal });
	expect(status).toMatchObject({ state: 'foreign', areas: [{ path: '/dev/sda2', ours: false }] });
	expect(status.conditions[0]).toMatchObject({ type: 'SwapAvailable', status: true, reason: 'Foreign' });
	await expect(stat(join(root, 'data/swap/hibernate.swap'))).rejects.toThrow();
});

it('reports as a condition that no swap is on', async () => {
	const status = await swapWith({}).ensure({ signal });
	expect(status).toMatchObject({ state: 'none', conditions: [{ type: 'SwapAvailable', status: false, reason: 'SwapOff' }] });
});
