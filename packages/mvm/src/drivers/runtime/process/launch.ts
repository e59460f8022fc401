// Starts one sandbox: a child that waits, gets its user namespace mapped and its groups assigned from outside, and only
// then becomes bubblewrap. If hostd dies before the starting gun, the child reads end-of-file and is gone.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readlinkSync, writeFileSync } from 'node:fs';
import type { Duplex, Writable } from 'node:stream';
import { MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import type { Cgroup } from './cgroup.ts';
import { nameProcess, type ProcessName } from './process-table.ts';
import { TOOL_ENV } from './run-tool.ts';
import { readStatus } from './status-file.ts';
import type { UidRange } from './uids.ts';

/** The only shell text of the host, and constant: wait for a line, then become the arguments. No core dumps: they hold secrets. */
const WAITER = 'ulimit -c 0; read -r go && exec "$@" </dev/null';
const MAP_TIMEOUT_MS = 5_000;
const START_TIMEOUT_MS = 15_000;

export interface LaunchInput {
	readonly argv: readonly string[];
	/** Root maps this range; undefined without root. */
	readonly range: UidRange | undefined;
	readonly cgroup: Cgroup | undefined;
	readonly seccomp: Uint8Array;
	/** Read by the guest from descriptor 3, once. */
	readonly boot: { readonly incarnation: number; readonly token: string };
	readonly statusPath: string;
	readonly consolePath: string;
	/** Called with the process's name before it may run: whatever must be durable is written here. */
	readonly onMonitor: (monitor: ProcessName) => void;
}

/** Resolves with the host pid of the sandbox's init once it exists; throws WAKE_FAILED when bubblewrap gave up. */
export async function launchSandbox(clock: Clock, input: LaunchInput, options: { signal: AbortSignal }): Promise<number> {
	const waiter = ['/bin/sh', '-c', WAITER, 'sh'];
	const become = ['setpriv', '--reuid', '0', '--regid', '0', '--clear-groups', '--'];
	const argv =
		input.range === undefined
			? [...waiter, ...input.argv]
			: ['unshare', '--user', '--keep-caps', '--', ...waiter, ...become, ...input.argv];
	const [command, ...args] = argv as [string, ...string[]];
	const log = openSync(input.consolePath, 'a', 0o600);
	const status = openSync(input.statusPath, 'w', 0o600);
	const child = spawn(command, args, { detached: true, stdio: ['pipe', log, log, 'pipe', status, 'pipe'], env: TOOL_ENV });
	closeSync(log);
	closeSync(status);
	const [gun, , , boot, , filter] = child.stdio as unknown as [Writable, null, null, Duplex, null, Duplex];
	// A child that died early breaks these pipes; its exit is what gets reported.
	for (const stream of [gun, boot, filter]) stream.on('error', () => {});
	let ended: string | undefined;
	child.on('error', (error) => {
		ended = error.message;
	});
	child.on('exit', (code, signal) => {
		ended = `exit ${code ?? signal}`;
	});
	child.unref();
	try {
		if (child.pid === undefined) throw await spawnFailure(clock, () => ended, options.signal);
		if (input.range !== undefined) await mapUsers(clock, child.pid, input.range, () => ended, options.signal);
		input.cgroup?.place(child.pid);
		const monitor = nameProcess(child.pid);
		if (monitor === undefined) throw new MvmError('WAKE_FAILED', 'the sandbox ended before its start');
		input.onMonitor(monitor);
		send(boot, JSON.stringify(input.boot));
		send(filter, input.seccomp);
		gun.end('go\n');
		return await initPid(clock, input.statusPath, () => ended, options.signal);
	} catch (error) {
		for (const stream of [gun, boot, filter]) stream.destroy();
		child.kill('SIGKILL');
		throw error;
	}
}

/** Ends our side; what was written stays readable for the child, and a guest that writes back reaches nobody. */
function send(stream: Duplex, bytes: string | Uint8Array): void {
	stream.end(bytes, () => stream.destroy());
}

async function spawnFailure(clock: Clock, ended: () => string | undefined, signal: AbortSignal): Promise<MvmError> {
	await clock.sleep(1, { signal });
	return new MvmError('HOST_UNSUPPORTED', `the sandbox could not be spawned: ${ended() ?? 'no reason given'}`, {
		hint: 'bubblewrap and util-linux must be installed',
	});
}

/** Waits for the child's own user namespace, then maps the range as root. */
async function mapUsers(
	clock: Clock,
	pid: number,
	range: UidRange,
	ended: () => string | undefined,
	signal: AbortSignal,
): Promise<void> {
	const own = readlinkSync('/proc/self/ns/user');
	await until(
		clock,
		() => {
			try {
				return readlinkSync(`/proc/${pid}/ns/user`) !== own || undefined;
			} catch {
				return undefined;
			}
		},
		{ ended, timeoutMs: MAP_TIMEOUT_MS, what: 'its user namespace', signal },
	);
	for (const map of ['gid_map', 'uid_map']) writeFileSync(`/proc/${pid}/${map}`, `0 ${range.base} ${range.count}\n`);
}

async function initPid(clock: Clock, path: string, ended: () => string | undefined, signal: AbortSignal): Promise<number> {
	return until(clock, () => readStatus(path).initPid, { ended, timeoutMs: START_TIMEOUT_MS, what: 'its init', signal });
}

async function until<T>(
	clock: Clock,
	look: () => T | undefined,
	options: { ended: () => string | undefined; timeoutMs: number; what: string; signal: AbortSignal },
): Promise<T> {
	const deadline = clock.monotonic() + options.timeoutMs;
	for (;;) {
		const found = look();
		if (found !== undefined) return found;
		const ended = options.ended();
		if (ended !== undefined || clock.monotonic() > deadline)
			throw new MvmError('WAKE_FAILED', `the sandbox did not get to ${options.what}: ${ended ?? 'timed out'}`);
		await clock.sleep(1, { signal: options.signal });
	}
}
