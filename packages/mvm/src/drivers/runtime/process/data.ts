// Walks and replaces an instance's `/data`. Only while nothing in it moves; the lock is held for as long as the stream lasts.
import { type InstanceId, MvmError } from '@mvm/protocol';
import type { DataEntry, RefusedEntry } from '../../../ports/runtime.ts';
import { refuseErasing } from './boot.ts';
import { makeDataFolder } from './data-disk.ts';
import { replaceData } from './data-restore.ts';
import { walkData } from './data-walk.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import type { SlotRecord } from './slots.ts';

type Options = { readonly signal: AbortSignal };

/** Throws NOT_QUIESCENT at once when the instance runs; the walk itself takes the lock and looks again. */
export function checkpointInstance(
	host: ProcessHost,
	id: InstanceId,
	{ signal }: Options,
): { entries: AsyncIterable<DataEntry>; refused(): readonly RefusedEntry[] } {
	requireQuiet(host, host.slots.get(id));
	let refused: () => readonly RefusedEntry[] = () => [];
	async function* entries(): AsyncGenerator<DataEntry> {
		using _turn = await host.locks.hold(id, { signal });
		const record = host.slots.get(id);
		refuseErasing(record);
		requireQuiet(host, record);
		const range = host.range(record.slot);
		await host.disk.ensure(pathsOf(host, record), { mib: record.dataDiskMib, range, signal });
		const walk = walkData(pathsOf(host, record).data, { uidBase: range?.base, signal });
		refused = () => walk.refused();
		yield* walk.entries;
	}
	return { entries: entries(), refused: () => refused() };
}

/** Assembles the new `/data` beside the old one and swaps them by rename. Called under the lock; only while nothing lives. */
export async function restoreInstance(
	host: ProcessHost,
	id: InstanceId,
	entries: AsyncIterable<DataEntry>,
	{ signal }: Options,
): Promise<{ entries: number; bytes: number }> {
	const record = host.slots.get(id);
	refuseErasing(record);
	if (host.tree(record).pids().length > 0) throw notQuiet(id);
	const paths = pathsOf(host, record);
	const range = host.range(record.slot);
	await host.disk.ensure(paths, { mib: record.dataDiskMib, range, signal });
	const makeFolder = (path: string): void => makeDataFolder(path, range);
	const result = await replaceData(paths, entries, { uidBase: range?.base, signal, makeFolder });
	host.slots.put({ ...record, dataFresh: false });
	return result;
}

function requireQuiet(host: ProcessHost, record: SlotRecord): void {
	const tree = host.tree(record);
	if (tree.pids().length > 0 && !tree.isFrozen()) throw notQuiet(record.instanceId as InstanceId);
}

function notQuiet(id: InstanceId): MvmError {
	return new MvmError('NOT_QUIESCENT', `instance ${id} runs; freeze or stop it first`, { details: { instance_id: id } });
}
