// Pages a frozen tree out to swap. Called by the process driver for `snapshot`, with the tree frozen and kept frozen.
// Writes only to the group's own reclaim files; never thaws, never touches swap itself (swap.ts does).
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MvmError } from '@mvm/protocol';
import type { SnapshotResult } from '../../../ports/runtime.ts';
import { type GroupUsage, type MemoryGroup, readGroupUsage, readSwapAllowance } from './hibernate-memory.ts';

/** Anonymous memory below this is not worth a verdict: kernel and page-table noise. */
const NOISE_BYTES = 16 * 2 ** 20;
/** Usage that moves by less than this between rounds counts as flat. */
const FLAT_BYTES = 256 * 1024;
const FLAT_ROUNDS = 3;
/** Bound of the loop; real trees need 3 to 8 rounds. */
const MAX_ROUNDS = 40;
/** Above this share of the anonymous memory still resident the page-out did not work. */
const FAILED_SHARE = 0.5;

export interface PageOutOptions {
	readonly signal: AbortSignal;
	/** Where /proc is; only tests change it. */
	readonly procRoot?: string;
}

/**
 * Moves the memory of the frozen `group` to swap. Rejects with SNAPSHOT_UNAVAILABLE before anything changed when swap
 * does not have the room, or afterwards when the kernel would not let the pages go; the tree is whole in either case.
 */
export async function pageOut(group: MemoryGroup, options: PageOutOptions): Promise<SnapshotResult> {
	const before = await readGroupUsage(group);
	await assertRoom(group, before, options.procRoot);
	const restore = await preferAnonymous(group);
	let rounds = 0;
	let after = before;
	try {
		for (let flat = 0; flat < FLAT_ROUNDS && rounds < MAX_ROUNDS; rounds += 1) {
			options.signal.throwIfAborted();
			const last = after;
			await reclaimOnce(group, last.chargedBytes);
			after = await readGroupUsage(group);
			flat = last.chargedBytes - after.chargedBytes < FLAT_BYTES ? flat + 1 : 0;
		}
	} catch (cause) {
		if (options.signal.aborted) throw cause;
		throw unavailable('the kernel refused to reclaim the memory of the instance', before, { rounds }, cause);
	} finally {
		await restore();
	}
	if (after.anonymousBytes > before.anonymousBytes * FAILED_SHARE && after.anonymousBytes > NOISE_BYTES)
		throw unavailable('most of the memory stayed resident', before, { still_anonymous_bytes: after.anonymousBytes, rounds });
	return {
		chargedBeforeBytes: before.chargedBytes,
		chargedAfterBytes: after.chargedBytes,
		swapBytes: after.swapBytes,
		rounds,
	};
}

async function assertRoom(group: MemoryGroup, usage: GroupUsage, procRoot = '/proc'): Promise<void> {
	const { freeBytes, limitedBy } = await readSwapAllowance(group, procRoot);
	if (freeBytes >= usage.anonymousBytes) return;
	throw unavailable('not enough swap to hold the memory of the instance', usage, {
		needed_bytes: usage.anonymousBytes,
		free_swap_bytes: freeBytes,
		limited_by: limitedBy,
	});
}

/** Makes reclaim take anonymous pages first; the returned function puts the group's own setting back. */
async function preferAnonymous(group: MemoryGroup): Promise<() => Promise<void>> {
	if (group.version === 2) return async () => {};
	const path = join(group.path, 'memory.swappiness');
	const previous = await readFile(path, 'utf8');
	await writeFile(path, '100');
	return async () => {
		// A group that has gone with its instance has no setting to put back.
		await writeFile(path, previous.trim()).catch(() => {});
	};
}

/**
 * One round. On v1 the statistics must be read right before each write, or the kernel reclaims by stale ones and
 * succeeds having done nothing; the caller's loop does that (`readGroupUsage`) and so does this, to be sure.
 */
async function reclaimOnce(group: MemoryGroup, bytes: number): Promise<void> {
	await readFile(join(group.path, 'memory.stat'));
	if (group.version === 1) return writeFile(join(group.path, 'memory.force_empty'), '0');
	const path = join(group.path, 'memory.reclaim');
	try {
		await writeFile(path, `${bytes} swappiness=200`);
	} catch (error) {
		// EAGAIN: less was reclaimed than asked for, which is how v2 says "flat". EINVAL: a kernel without the option.
		if (errno(error) === 'EINVAL') await writeFile(path, String(bytes)).catch(ignoreAgain);
		else ignoreAgain(error);
	}
}

function ignoreAgain(error: unknown): void {
	if (errno(error) !== 'EAGAIN') throw error;
}

const errno = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

function unavailable(what: string, usage: GroupUsage, details: Record<string, string | number>, cause?: unknown): MvmError {
	return new MvmError('SNAPSHOT_UNAVAILABLE', what, {
		details: { charged_bytes: usage.chargedBytes, anonymous_bytes: usage.anonymousBytes, ...details },
		hint: 'the instance stays as it is; give the host more swap (swap.size_mib in mvm.toml) or let it sleep cold',
		cause,
	});
}
