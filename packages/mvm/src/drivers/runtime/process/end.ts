// The ends of an instance: stop its tree, or erase everything of it. Nothing is given away (slot, uids) before it is gone.
import { existsSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type InstanceId, MvmError } from '@mvm/protocol';
import type { Observed } from '../../../ports/runtime.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import { observe } from './observe.ts';
import { innerPid, pidNamespace } from './process-table.ts';
import type { SlotRecord } from './slots.ts';
import { readStatus } from './status-file.ts';

const POLL_MS = 5;
/** bubblewrap's init is 1; what it started, the supervisor, is 2. */
const SUPERVISOR_INNER_PID = 2;

type Options = { readonly signal: AbortSignal };

/** SIGTERM to the supervisor, `graceMs`, then kill. A frozen tree is killed as it stands. Called under the lock. */
export async function stopInstance(
	host: ProcessHost,
	input: { instanceId: InstanceId; graceMs: number },
	options: Options,
): Promise<Observed> {
	const record = host.slots.get(input.instanceId);
	const tree = host.tree(record);
	const deadline = host.clock.monotonic() + input.graceMs;
	if (input.graceMs > 0 && tree.pids().length > 0 && !tree.isFrozen()) {
		signalSupervisor(host, record);
		while (tree.pids().length > 0 && host.clock.monotonic() < deadline) await host.clock.sleep(POLL_MS, options);
	}
	if (tree.pids().length > 0) await tree.kill(options);
	host.cgroup(record.slot)?.remove();
	const stopped = record.phase === 'erasing' ? record : host.slots.put({ ...record, phase: 'stopped', hibernated: false });
	return observe(host, stopped, { full: false });
}

/** Erases and forgets the instance; of an unknown one nothing is left to erase. Called under the lock. */
export async function destroyInstance(host: ProcessHost, id: InstanceId, options: Options): Promise<void> {
	const found = host.slots.find(id);
	if (found === undefined) return;
	const record = host.slots.put({ ...found, phase: 'erasing' });
	await stopInstance(host, { instanceId: id, graceMs: 0 }, options);
	if (host.tree(record).pids().length > 0) throw new MvmError('INTERNAL', `instance ${id} still has live processes`);
	const paths = pathsOf(host, record);
	await host.secrets.erase(paths.secrets, options);
	eraseLink(paths.link);
	await rm(paths.run, { recursive: true, force: true });
	await host.disk.erase(paths, options);
	host.cgroup(record.slot)?.remove();
	host.measured.delete(record.slot);
	host.slots.remove(record.slot);
	host.claims?.release(record.slot);
}

function signalSupervisor(host: ProcessHost, record: SlotRecord): void {
	const { pidNamespace: inode } = readStatus(pathsOf(host, record).status);
	for (const pid of host.tree(record).pids()) {
		if (pidNamespace(pid) !== inode || innerPid(pid) !== SUPERVISOR_INNER_PID) continue;
		try {
			process.kill(pid, 'SIGTERM');
		} catch {
			// Ended just now: the wait that follows sees it.
		}
	}
}

/** The daemon can write in here, so nothing is followed and nothing is descended into. */
function eraseLink(link: string): void {
	if (!existsSync(link)) return;
	for (const entry of readdirSync(link, { withFileTypes: true }))
		if (entry.isDirectory()) rmdirSync(join(link, entry.name));
		else unlinkSync(join(link, entry.name));
	rmdirSync(link);
}
