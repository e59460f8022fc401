// What this host really lets us do, found out by doing it once at start. Never assumed from being root: containers differ.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Condition, MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import { type CgroupHost, openCgroups } from './cgroup.ts';
import { findCgroupMounts } from './cgroup-mounts.ts';
import { runTool } from './run-tool.ts';

export interface HostAbilities {
	readonly root: boolean;
	readonly cgroups: CgroupHost | undefined;
	readonly loop: boolean;
	readonly secretsTmpfs: 'noswap' | 'swappable' | 'none';
	/** What is weaker than on a fully equipped host. */
	readonly conditions: readonly Condition[];
}

export interface ProbeOptions {
	readonly uid: number;
	readonly cgroupParent: string;
	readonly freezer?: 1 | 2;
	readonly signal: AbortSignal;
}

/** Throws HOST_UNSUPPORTED, with what to do, when no sandbox can be made at all. */
export async function probeHost(clock: Clock, options: ProbeOptions): Promise<HostAbilities> {
	const { signal } = options;
	const root = options.uid === 0;
	await requireSandbox(root, signal);
	const cgroups = root ? tryCgroups(clock, options) : undefined;
	const loop = root && existsSync('/dev/loop-control') && (await works(['losetup', '-f'], signal));
	const secretsTmpfs = root ? await probeTmpfs(signal) : 'none';
	return { root, cgroups, loop, secretsTmpfs, conditions: weaknesses({ root, cgroups, loop, secretsTmpfs }) };
}

function weaknesses(found: Omit<HostAbilities, 'conditions'>): Condition[] {
	const conditions: Condition[] = [];
	const add = (type: string, reason: string, message: string): void => {
		conditions.push({ type, status: true, reason, message });
	};
	const why = found.root ? 'HostLacksSupport' : 'NotRoot';
	if (!found.root) {
		add('Unprivileged', why, 'mvm does not run as root; what that costs stands in the other conditions');
		add('SingleUid', why, 'supervisor, workload and executors are one user; start as root for a uid range per instance');
	}
	const missing = found.cgroups?.missing ?? ['memory', 'pids', 'cpu', 'freezer'];
	if (missing.length > 0) add('LimitsNotEnforced', why, `no control group for: ${missing.join(', ')}`);
	if (found.cgroups?.canFreeze !== true) add('FreezeBySignal', why, 'instances are frozen by SIGSTOP and cannot be paged out');
	if (!found.loop) add('DiskLimitMeasured', why, '/data is a plain folder; its size is measured, not enforced');
	if (found.secretsTmpfs !== 'noswap')
		add('SecretsMaySwap', why, 'secrets lie in memory that may be swapped out, or in a folder');
	return conditions;
}

async function requireSandbox(root: boolean, signal: AbortSignal): Promise<void> {
	const view = ['--ro-bind', '/', '/', '--unshare-pid', '--unshare-net', '--proc', '/proc', '--', '/bin/true'];
	try {
		if (root) await runTool(['unshare', '--user', '--keep-caps', '--', '/bin/true'], { signal });
		await runTool(['bwrap', '--unshare-user', ...view], { signal });
	} catch (cause) {
		throw new MvmError('HOST_UNSUPPORTED', 'bubblewrap cannot make a sandbox here', {
			details: { reason: cause instanceof Error ? cause.message : String(cause) },
			hint: 'install bubblewrap and util-linux (apt-get install bubblewrap util-linux) and allow user namespaces',
			cause,
		});
	}
}

function tryCgroups(clock: Clock, options: ProbeOptions): CgroupHost | undefined {
	try {
		const chosen = options.freezer === undefined ? {} : { freezer: options.freezer };
		return openCgroups({ clock, mounts: findCgroupMounts() }, { parent: options.cgroupParent, ...chosen });
	} catch {
		// A read-only or absent hierarchy: everything that depends on it becomes a condition.
		return undefined;
	}
}

async function probeTmpfs(signal: AbortSignal): Promise<HostAbilities['secretsTmpfs']> {
	const folder = mkdtempSync(join(tmpdir(), 'mvm-probe-'));
	try {
		for (const [flags, found] of [
			['noswap,size=64k', 'noswap'],
			['size=64k', 'swappable'],
		] as const) {
			if (!(await works(['mount', '-t', 'tmpfs', '-o', flags, 'mvm-probe', folder], signal))) continue;
			await runTool(['umount', folder], { signal });
			return found;
		}
		return 'none';
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

async function works(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<boolean> {
	try {
		await runTool(argv, { signal });
		return true;
	} catch {
		signal.throwIfAborted();
		return false;
	}
}
