// What is true of an instance right now: looked up in the kernel each time, never remembered.
import { type Condition, parseInstanceId } from '@mvm/protocol';
import type { Observed } from '../../../ports/runtime.ts';
import { readInstanceMemory } from './hibernate-memory.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import { readStat } from './process-table.ts';
import type { SlotRecord } from './slots.ts';
import { readStatus } from './status-file.ts';

const LEFTOVERS_MS = 10_000;

/**
 * Observes one instance; cheap enough to be called every second. Without `full` only what it is, not what it costs: the
 * answer of a thaw must not wait for statistics.
 */
export async function observe(host: ProcessHost, record: SlotRecord, options = { full: true }): Promise<Observed> {
	const paths = pathsOf(host, record);
	const tree = host.tree(record);
	let pids = tree.pids();
	// bubblewrap's init waits for everybody; without its supervisor a sandbox is of no use, so what it left behind ends with it.
	if (pids.length > 0 && readStatus(paths.status).exitCode !== undefined) {
		await tree.kill({ signal: AbortSignal.timeout(LEFTOVERS_MS) });
		pids = tree.pids();
	}
	const dataBytes = options.full ? ((await host.disk.usedBytes(paths)) ?? host.measured.get(record.slot)) : undefined;
	const base = {
		instanceId: parseInstanceId(record.instanceId),
		slot: record.slot,
		incarnation: record.incarnation,
		hibernated: record.hibernated && pids.length > 0,
		...(record.image === undefined ? {} : { image: record.image }),
		...(dataBytes === undefined ? {} : { dataBytes }),
	};
	if (pids.length === 0) {
		if (record.phase !== 'started') return { ...base, state: 'absent' };
		const { exitCode } = readStatus(paths.status);
		return { ...base, state: 'exited', oomKills: tree.usage().oomKills, ...(exitCode === undefined ? {} : { exitCode }) };
	}
	const { initPid } = readStatus(paths.status);
	const startTicks = initPid === undefined ? undefined : readStat(initPid)?.startTicks;
	const alive = {
		...base,
		state: tree.isFrozen() ? ('frozen' as const) : ('running' as const),
		...(initPid === undefined || startTicks === undefined ? {} : { pid: initPid, startTicks }),
	};
	if (!options.full) return alive;
	const memory = await readInstanceMemory(host.cgroup(record.slot)?.memoryGroup, pids);
	return { ...alive, memory, ...tree.usage() };
}

/** Conditions of one instance: the host's, plus what holds for this instance alone. */
export function conditionsOf(host: ProcessHost, record: SlotRecord): readonly Condition[] {
	if (record.dataDiskMib > 0 || !host.abilities.loop) return host.abilities.conditions;
	const message = 'the pool sets no data_disk_mib, so /data is a folder on the host disk';
	return [...host.abilities.conditions, { type: 'DiskUnlimited', status: true, reason: 'NoLimitSet', message }];
}
