// Reads what an instance costs: memory charged to its cgroup (v1 or v2), swap, resident. Called by the process driver
// for inspect and by hibernate.ts. Only reads; a figure the kernel does not give is worked out from /proc/PID.
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { InstanceMemory } from '../../../ports/runtime.ts';

/** The folder of the memory controller that holds one instance's tree. */
export interface MemoryGroup {
	readonly version: 1 | 2;
	readonly path: string;
}

/** Memory of one group as reclaim sees it; all in bytes. */
export interface GroupUsage {
	/** Everything charged: anonymous memory, page cache, kernel memory. */
	readonly chargedBytes: number;
	/** What only swap can take: anonymous and shared memory that is resident now. */
	readonly anonymousBytes: number;
	readonly swapBytes: number;
}

/** What the group costs now, with the resident figure summed over `pids`. */
export async function readInstanceMemory(
	group: MemoryGroup | undefined,
	pids: readonly number[],
	procRoot = '/proc',
): Promise<InstanceMemory> {
	const processes = await Promise.all(pids.map((pid) => readProcess(procRoot, pid)));
	const residentBytes = sum(processes.map((p) => p.residentBytes));
	if (group === undefined) {
		const chargedBytes = sum(processes.map((p) => p.privateBytes));
		return { chargedBytes, swapBytes: sum(processes.map((p) => p.swapBytes)), residentBytes };
	}
	const { chargedBytes, swapBytes } = await readGroupUsage(group);
	return { chargedBytes, swapBytes, residentBytes };
}

/** Reads usage, swap and `memory.stat` of a group. Reading the statistics also makes the kernel bring them up to date. */
export async function readGroupUsage(group: MemoryGroup): Promise<GroupUsage> {
	const stat = await readStat(group);
	if (group.version === 2) {
		return {
			chargedBytes: (await readNumber(join(group.path, 'memory.current'))) ?? 0,
			anonymousBytes: (stat.get('anon') ?? 0) + (stat.get('shmem') ?? 0),
			swapBytes: (await readNumber(join(group.path, 'memory.swap.current'))) ?? 0,
		};
	}
	const chargedBytes = (await readNumber(join(group.path, 'memory.usage_in_bytes'))) ?? 0;
	const both = await readNumber(join(group.path, 'memory.memsw.usage_in_bytes'));
	return {
		chargedBytes,
		anonymousBytes: (stat.get('total_rss') ?? 0) + (stat.get('total_shmem') ?? 0),
		swapBytes: stat.get('total_swap') ?? Math.max(0, (both ?? chargedBytes) - chargedBytes),
	};
}

/** Swap that stays free on the host, so that the last page of a page-out does not fail. */
const HOST_MARGIN_BYTES = 16 * 2 ** 20;

/** Bytes that the group may still move to swap: free swap of the host, cut by limits of the group and those above it. */
export async function readSwapAllowance(
	group: MemoryGroup,
	procRoot = '/proc',
): Promise<{ readonly freeBytes: number; readonly limitedBy: string }> {
	const info = new Map(
		(await readFile(join(procRoot, 'meminfo'), 'utf8'))
			.split('\n')
			.map((line): [string, number] => [line.split(':')[0] ?? '', Number(/(\d+) kB/.exec(line)?.[1] ?? 0) * 1024]),
	);
	let freeBytes = (info.get('SwapFree') ?? 0) - HOST_MARGIN_BYTES;
	let limitedBy = (info.get('SwapTotal') ?? 0) === 0 ? 'no swap is on' : 'free swap of the host';
	for (let path = group.path; path.length > 1; path = dirname(path)) {
		const room = group.version === 2 ? await swapRoomV2(path) : await swapRoomV1(path);
		if (room === 'root') break;
		if (room !== undefined && room < freeBytes) {
			freeBytes = room;
			limitedBy = `swap limit of control group ${path}`;
		}
	}
	return { freeBytes: Math.max(0, freeBytes), limitedBy };
}

/** v1 has one limit for memory and swap together: what it grants beyond the memory limit is the room for swap. */
async function swapRoomV1(path: string): Promise<number | 'root' | undefined> {
	const both = await readNumber(join(path, 'memory.memsw.limit_in_bytes'));
	const memory = await readNumber(join(path, 'memory.limit_in_bytes'));
	if (memory === undefined) return 'root';
	if (both === undefined || both >= UNLIMITED) return undefined;
	const usage = await readGroupUsage({ version: 1, path });
	return Math.max(0, both - Math.min(memory, both)) - usage.swapBytes;
}

async function swapRoomV2(path: string): Promise<number | 'root' | undefined> {
	const text = await readText(join(path, 'memory.swap.max'));
	if (text === undefined) return (await readText(join(path, 'cgroup.procs'))) === undefined ? 'root' : undefined;
	if (text.trim() === 'max') return undefined;
	return Number(text) - ((await readNumber(join(path, 'memory.swap.current'))) ?? 0);
}

/** The kernel prints the largest multiple of a page below 2^63 for "no limit". */
const UNLIMITED = 2 ** 62;

async function readProcess(procRoot: string, pid: number) {
	const status = (await readText(join(procRoot, String(pid), 'status'))) ?? '';
	const kib = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024;
	return { residentBytes: kib('VmRSS'), swapBytes: kib('VmSwap'), privateBytes: kib('RssAnon') + kib('RssShmem') };
}

async function readStat(group: MemoryGroup): Promise<Map<string, number>> {
	const text = (await readText(join(group.path, 'memory.stat'))) ?? '';
	return new Map(text.split('\n').map((line): [string, number] => [line.split(' ')[0] ?? '', Number(line.split(' ')[1] ?? 0)]));
}

async function readNumber(path: string): Promise<number | undefined> {
	const text = await readText(path);
	return text === undefined ? undefined : Number(text);
}

/** Undefined when the file is not there; the group or process may have gone, or the kernel lacks the figure. */
async function readText(path: string): Promise<string | undefined> {
	try {
		return await readFile(path, 'utf8');
	} catch {
		return undefined;
	}
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
