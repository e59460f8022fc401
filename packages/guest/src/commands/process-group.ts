// Signals to the process groups of the workload user. The supervisor may change users but not signal other users' processes
// (no CAP_KILL), so a short child of that user does it.
import { spawn } from 'node:child_process';

export interface User {
	readonly uid: number;
	readonly gid: number;
}

/** Constant text; what it acts on are its arguments. */
const KILL_GROUP = 'kill -s "$1" -- "-$2" 2>/dev/null';

/** Under bubblewrap the supervisor is the second process of its own pid namespace; on a host, 2 is a kernel thread. */
const SUPERVISOR_PID = 2;
const KILL_ALL = 'kill -s KILL -- -1 2>/dev/null';

/** Ends every process of the user in this sandbox; does nothing outside of one. */
export async function killEverything(user: User | undefined): Promise<void> {
	if (process.pid !== SUPERVISOR_PID) return;
	if (user === undefined) {
		try {
			process.kill(-1, 'SIGKILL');
		} catch {
			// Nobody else is left.
		}
		return;
	}
	const child = spawn('/bin/sh', ['-c', KILL_ALL, 'sh'], { ...user, stdio: 'ignore', env: {} });
	await new Promise<void>((done) => child.once('error', () => done()).once('exit', () => done()));
}

/** Best effort: a group that is gone already is fine. `user` undefined: everything runs as the agent's own user. */
export async function signalGroup(pid: number, signal: 'TERM' | 'KILL', user: User | undefined): Promise<void> {
	if (user === undefined) {
		try {
			process.kill(-pid, `SIG${signal}`);
		} catch {
			// Gone.
		}
		return;
	}
	const child = spawn('/bin/sh', ['-c', KILL_GROUP, 'sh', signal, String(pid)], { ...user, stdio: 'ignore', env: {} });
	await new Promise<void>((done) => child.once('error', () => done()).once('exit', () => done()));
}
