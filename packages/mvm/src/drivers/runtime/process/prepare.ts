// Prepares an instance's place on the host: slot, uid range, folders, disk, secrets, link directory. Idempotent; also what
// puts everything back after a reboot. Runs no guest code.
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { MvmError } from '@mvm/protocol';
import type { Prepared, PrepareInput } from '../../../ports/runtime.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import { conditionsOf } from './observe.ts';
import type { SlotRecord } from './slots.ts';
import { foreignUses } from './uids.ts';

/** Called under the instance's lock. */
export async function prepareInstance(
	host: ProcessHost,
	input: PrepareInput,
	options: { signal: AbortSignal },
): Promise<Prepared> {
	let record = host.slots.find(input.instanceId) ?? allocate(host, input);
	const { signal } = options;
	if (host.claims?.claim(record.slot) === false)
		throw new MvmError('CONFLICT', `the uid range of slot ${record.slot} belongs to another mvm on this host`, {
			details: { slot: record.slot },
			hint: 'destroy the instance here, or stop the other mvm',
		});
	makeFolders(host, record);
	const paths = pathsOf(host, record);
	// Freshness is on disk before anybody can see the empty folder, or a crash here would pass it off as the real thing.
	if (record.dataDiskMib !== input.dataDiskMib) record = host.slots.put({ ...record, dataDiskMib: input.dataDiskMib });
	const { fresh } = await host.disk.ensure(paths, {
		mib: record.dataDiskMib,
		range: host.range(record.slot),
		isIdle: host.tree(record).pids().length === 0,
		signal,
	});
	if (fresh && !record.dataFresh) record = host.slots.put({ ...record, dataFresh: true });
	await host.secrets.ensure(paths.secrets, { signal });
	return { slot: record.slot, linkDir: paths.link, dataFresh: record.dataFresh, conditions: conditionsOf(host, record) };
}

function allocate(host: ProcessHost, input: PrepareInput): SlotRecord {
	const slot = host.slots.nextFree((candidate) => {
		const range = host.range(candidate);
		if (range === undefined) return true;
		if (foreignUses(range).length > 0) return false;
		return host.claims?.claim(candidate) ?? true;
	});
	return host.slots.put({
		version: 1,
		instanceId: input.instanceId,
		slot,
		phase: 'prepared',
		dataDiskMib: input.dataDiskMib,
		dataFresh: true,
		incarnation: 0,
		hibernated: false,
		secretsEpoch: -1,
	});
}

/**
 * Only the first uid of the range passes into its own slot folder, and the daemon gets nothing but the link directory:
 * the folders above stay root's, so nobody else can move what root will open or mount.
 */
function makeFolders(host: ProcessHost, record: SlotRecord): void {
	const paths = pathsOf(host, record);
	const range = host.range(record.slot);
	const make = (path: string, mode: number, uid: number, gid: number): void => {
		mkdirSync(path, { recursive: true, mode });
		if (range !== undefined) chownSync(path, uid, gid);
		chmodSync(path, mode);
	};
	const first = range?.base ?? 0;
	make(paths.root, range === undefined ? 0o700 : 0o710, 0, first);
	make(paths.config, 0o755, 0, 0);
	make(paths.run, 0o711, 0, 0);
	make(paths.link, range === undefined ? 0o700 : 0o710, host.config.daemon.uid, first);
}
