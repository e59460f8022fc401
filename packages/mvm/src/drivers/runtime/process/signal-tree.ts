// A process tree without control groups: known by its pid namespace, frozen by SIGSTOP to every member until all stand,
// killed through its init. Weaker than a freezer (a debugger of the same user could continue it); reported as a condition.
import { MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import type { CgroupUsage } from './cgroup.ts';
import { isAlive, type ProcessName, pidNamespace, pidsInNamespace, readStat } from './process-table.ts';
import { readStatus } from './status-file.ts';
import type { ProcessTree } from './tree.ts';

const POLL_MS = 2;
const FREEZE_TIMEOUT_MS = 10_000;
const KILL_TIMEOUT_MS = 15_000;
/** Looks (2 ms apart) after which a tree that does not stand is let pass for a moment, and for how many. */
const PATIENCE = 50;
const PASS = 5;

/** The tree whose monitor is `monitor` and whose status file is at `statusPath`; both may be long gone. */
export function signalTree(clock: Clock, input: { monitor: ProcessName | undefined; statusPath: string }): ProcessTree {
	const members = (): number[] => {
		const { monitor } = input;
		if (monitor === undefined) return [];
		const { initPid, pidNamespace: inode } = readStatus(input.statusPath);
		// The status file names a namespace of some boot; it is this one only while the named monitor lives or its init
		// (which the kernel keeps as long as the namespace has members) still shows that namespace.
		const live = isAlive(monitor);
		if (inode === undefined || initPid === undefined) return live ? [monitor.pid] : [];
		const sameInit = pidNamespace(initPid) === inode && (readStat(initPid)?.startTicks ?? 0) >= monitor.startTicks;
		const inside = live || sameInit ? pidsInNamespace(inode) : [];
		return live ? [monitor.pid, ...inside] : inside;
	};
	const inside = (): number[] => members().filter((pid) => pid !== input.monitor?.pid);
	const isStopped = (pid: number): boolean => 'TtZX'.includes(readStat(pid)?.state ?? 'X');
	const until = async (done: () => boolean, timeoutMs: number, signal: AbortSignal): Promise<void> => {
		const deadline = clock.monotonic() + timeoutMs;
		while (!done()) {
			if (clock.monotonic() > deadline) throw new MvmError('TIMEOUT', 'the processes did not follow in time');
			await clock.sleep(POLL_MS, { signal });
		}
	};
	return {
		pids: members,
		isFrozen() {
			const pids = inside();
			return pids.length > 0 && pids.every(isStopped);
		},
		async freeze({ signal }) {
			// Repeated until a whole look finds nobody moving: a process may be born between look and signal. A parent in vfork waits,
			// beyond the reach of signals, for the exec of a child that may have been stopped before it: then all go on for a moment.
			let looks = 0;
			await until(
				() => {
					const moving = inside().filter((pid) => !isStopped(pid));
					const round = looks++ % PATIENCE;
					const isPassing = looks > PATIENCE && round < PASS;
					for (const pid of isPassing ? inside() : moving) send(pid, isPassing ? 'SIGCONT' : 'SIGSTOP');
					return moving.length === 0 && !isPassing;
				},
				FREEZE_TIMEOUT_MS,
				signal,
			);
		},
		async thaw({ signal }) {
			await until(
				() => {
					const standing = inside().filter((pid) => readStat(pid)?.state === 'T');
					for (const pid of standing) send(pid, 'SIGCONT');
					return standing.length === 0;
				},
				FREEZE_TIMEOUT_MS,
				signal,
			);
		},
		async kill({ signal }) {
			await until(
				() => {
					const pids = members();
					for (const pid of pids) send(pid, 'SIGKILL');
					return pids.length === 0;
				},
				KILL_TIMEOUT_MS,
				signal,
			);
		},
		usage(): CgroupUsage {
			const pids = members();
			return { oomKills: 0, cpuMs: 0, tasks: pids.length };
		},
	};
}

function send(pid: number, signal: NodeJS.Signals): void {
	try {
		process.kill(pid, signal);
	} catch {
		// Gone between look and signal; the next look counts.
	}
}
