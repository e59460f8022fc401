// What postmaster.pid and /proc say about the server of a data directory, and signals to exactly that process.
// Pure reading and signalling for embedded.ts; it starts nothing.
import { readFileSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Postmaster {
	readonly pid: number;
	/** Folder of the Unix socket it listens on; empty while it starts. */
	readonly socketDir: string;
	/** True once it accepts connections. */
	readonly ready: boolean;
}

/** The live server of this directory, whoever started it; undefined when none runs. A stale file naming a foreign pid is none. */
export function findPostmaster(dataDir: string): Postmaster | undefined {
	let lines: string[];
	try {
		lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
	} catch {
		return undefined; // no file: not running
	}
	const pid = Number(lines[0]);
	if (!Number.isSafeInteger(pid) || pid <= 1 || !isPostmasterOf(pid, dataDir)) return undefined;
	return { pid, socketDir: lines[4]?.trim() ?? '', ready: lines[7]?.trim() === 'ready' };
}

/** True when `pid` is alive, is a postgres, and works in `dataDir`. */
export function isPostmasterOf(pid: number, dataDir: string): boolean {
	try {
		if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== 'postgres') return false;
		return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(dataDir);
	} catch {
		return false; // gone, a zombie, or not ours to see
	}
}

/**
 * After a crash or a reboot a lock file may name a pid that is alive and another program's; a new server would then take it
 * for its predecessor and give up. Such a file is made to name this process, which a server ignores as its own parent; the
 * rest of it stays, because by it the server finds backends of its predecessor that still hold the shared memory.
 */
export function disownStaleLocks(dataDir: string, socketDir: string): void {
	for (const path of [join(dataDir, 'postmaster.pid'), join(socketDir, '.s.PGSQL.5432.lock')]) {
		let text: string;
		try {
			text = readFileSync(path, 'utf8');
		} catch {
			continue; // none
		}
		const pid = Math.abs(Number(text.split('\n', 1)[0]));
		if (!Number.isSafeInteger(pid) || isPostmasterOf(pid, dataDir)) continue;
		writeFileSync(path, text.replace(/^[^\n]*/, String(process.pid)));
	}
}

/** Sends the signal unless the process is gone or has become another one. */
export function signalPostmaster(pid: number, dataDir: string, signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): void {
	if (!isPostmasterOf(pid, dataDir)) return;
	try {
		process.kill(pid, signal);
	} catch {
		// it ended between the two lines
	}
}
