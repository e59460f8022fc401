// Stands in for the parts of the driver that are being built beside it; goes away when they are here.
import { MvmError } from '@mvm/protocol';
import type { DataEntry, RefusedEntry, SnapshotResult } from '../../../ports/runtime.ts';
import type { MemoryGroup } from './cgroup.ts';

type Options = { readonly signal: AbortSignal };
type DataOptions = Options & { readonly uidBase: number | undefined };
const missing = (what: string): MvmError => new MvmError('UNSUPPORTED', `${what} is not part of this build`);

export async function pageOut(_group: MemoryGroup, _options: Options): Promise<SnapshotResult> {
	throw new MvmError('SNAPSHOT_UNAVAILABLE', 'paging out is not part of this build');
}

export async function prefetch(_pids: readonly number[], _options: Options): Promise<{ bytes: number }> {
	return { bytes: 0 };
}

export function walkData(
	_root: string,
	_options: DataOptions,
): { entries: AsyncIterable<DataEntry>; refused(): readonly RefusedEntry[] } {
	throw missing('walking /data');
}

export async function restoreData(
	_root: string,
	_entries: AsyncIterable<DataEntry>,
	_options: DataOptions,
): Promise<{ entries: number; bytes: number }> {
	throw missing('restoring /data');
}
