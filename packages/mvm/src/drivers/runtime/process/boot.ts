// Boots one instance: checks that nothing of it lives, makes the incarnation durable, then lets the sandbox run.
import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GuestConfig, type InstanceId, MvmError } from '@mvm/protocol';
import type { BootInput, Observed } from '../../../ports/runtime.ts';
import { tailConsole } from './console-log.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import { launchSandbox } from './launch.ts';
import { observe } from './observe.ts';
import { sandboxArgv } from './sandbox.ts';
import type { SlotRecord } from './slots.ts';

const DEFAULT_COMMAND = ['/opt/mvm/bin/node', '/opt/mvm/agent.cjs'];
const MIB = 1024 * 1024;
const MAX_TMP_MIB = 512;

/** Called under the instance's lock. */
export async function bootInstance(host: ProcessHost, input: BootInput, options: { signal: AbortSignal }): Promise<Observed> {
	const { signal } = options;
	let record = host.slots.get(input.instanceId);
	refuseErasing(record);
	if (host.tree(record).pids().length > 0)
		throw new MvmError('ALREADY_RUNNING', `instance ${input.instanceId} has live processes`, {
			details: { instance_id: input.instanceId, incarnation: record.incarnation },
		});
	requireNewer(record, input.incarnation);
	const image = await host.resolveImage(input.image);
	const paths = pathsOf(host, record);
	const range = host.range(record.slot);
	const cgroup = host.cgroup(record.slot);
	await host.disk.ensure(paths, { mib: record.dataDiskMib, range, signal });
	writeConfig(paths.config, input);
	cgroup?.remove(); // counters of the life before (killed, swapped) do not belong to this one
	cgroup?.create({ memMib: input.memMib, pidsMax: input.pidsMax, vcpus: input.vcpus });
	rmSync(paths.status, { force: true }); // the life before must not lend this one its exit code
	const { monitor: _gone, ...rest } = record;
	record = host.slots.put({
		...rest,
		phase: 'starting',
		incarnation: input.incarnation,
		hibernated: false,
		dataFresh: false,
		image: input.image,
	});
	const argv = sandboxArgv({
		hostname: input.instanceId,
		image,
		guestDir: host.config.guestDir,
		dataDir: paths.data,
		linkDir: paths.link,
		secretsDir: paths.secrets,
		configDir: paths.config,
		users: range === undefined ? 'single' : 'range',
		tmpBytes: Math.min(MAX_TMP_MIB, Math.max(16, Math.floor(input.memMib / 4))) * MIB,
		command: host.config.guestCommand ?? DEFAULT_COMMAND,
	});
	try {
		const launch = { argv, range, cgroup, seccomp: host.seccomp, boot: { incarnation: input.incarnation, token: input.token } };
		const watch = {
			statusPath: paths.status,
			consolePath: paths.consoleLog,
			onMonitor: (monitor: SlotRecord['monitor']) => {
				record = host.slots.put(monitor === undefined ? record : { ...record, monitor });
			},
		};
		await launchSandbox(host.clock, { ...launch, ...watch }, { signal });
		record = host.slots.put({ ...record, phase: 'started' });
	} catch (error) {
		await abandon(host, record);
		if (error instanceof MvmError)
			throw new MvmError(error.code as 'WAKE_FAILED', error.message, {
				cause: error,
				hint: error.hint,
				details: { ...error.details, last_log_lines: tailConsole(paths.consoleLog, 2048).split('\n').slice(-10) },
			});
		throw error;
	}
	return observe(host, record, { full: false });
}

/** Throws INCARNATION_STALE unless `incarnation` is greater than every one this host has let run. */
export function requireNewer(record: SlotRecord, incarnation: number): void {
	if (incarnation > record.incarnation) return;
	throw new MvmError('INCARNATION_STALE', `incarnation ${incarnation} is not newer than ${record.incarnation}`, {
		details: { instance_id: record.instanceId, incarnation, last_incarnation: record.incarnation },
	});
}

export function refuseErasing(record: SlotRecord): void {
	if (record.phase === 'erasing')
		throw new MvmError('INSTANCE_NOT_FOUND', `instance ${record.instanceId} is being erased`, {
			details: { instance_id: record.instanceId as InstanceId },
		});
}

/** Nothing of a failed boot stays alive; runs under its own deadline because the caller's may be the reason. */
async function abandon(host: ProcessHost, record: SlotRecord): Promise<void> {
	await host.tree(record).kill({ signal: AbortSignal.timeout(20_000) });
	host.slots.put({ ...record, phase: 'stopped' });
}

/** Readable by every user inside; outside, the slot's folder keeps others away. */
function writeConfig(folder: string, input: BootInput): void {
	const temporary = join(folder, '.config.json');
	writeFileSync(temporary, JSON.stringify(GuestConfig.encode(input.config)), { mode: 0o644 });
	chmodSync(temporary, 0o644);
	renameSync(temporary, join(folder, 'config.json'));
}
