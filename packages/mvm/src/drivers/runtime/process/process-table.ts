// Facts about host processes read from /proc. A bare pid proves nothing (pids are reused), so every question about a
// recorded process is asked with its start time. Used by the process driver; never by anything that takes a pid from a guest.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A process named beyond doubt: pid, start time in clock ticks since boot, and the boot it belongs to. */
export interface ProcessName {
	readonly pid: number;
	readonly startTicks: number;
	readonly bootId: string;
}

export interface ProcessStat {
	readonly pid: number;
	readonly parentPid: number;
	/** One letter of proc(5): R, S, D, T, t, Z, X, I. */
	readonly state: string;
	readonly startTicks: number;
}

/** Reads `/proc/<pid>/stat`; undefined when the process is gone. */
export function readStat(pid: number): ProcessStat | undefined {
	const text = readProc(`/proc/${pid}/stat`);
	if (text === undefined) return undefined;
	return parseStat(pid, text);
}

/** Parses one stat line. The command name may hold spaces and parentheses, so fields count from the last `)`. */
export function parseStat(pid: number, text: string): ProcessStat | undefined {
	const fields = text
		.slice(text.lastIndexOf(')') + 2)
		.trim()
		.split(' ');
	const [state, parent] = fields;
	const startTicks = Number(fields[19]);
	if (state === undefined || !Number.isSafeInteger(startTicks)) return undefined;
	return { pid, state, parentPid: Number(parent), startTicks };
}

export function bootId(): string {
	return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Names a live process; undefined when it is gone or a zombie. */
export function nameProcess(pid: number): ProcessName | undefined {
	const stat = readStat(pid);
	if (stat === undefined || isDead(stat)) return undefined;
	return { pid, startTicks: stat.startTicks, bootId: bootId() };
}

/** True while exactly this process lives. A zombie counts as dead: it holds no file, memory or socket any more. */
export function isAlive(name: ProcessName): boolean {
	const stat = readStat(name.pid);
	return stat !== undefined && !isDead(stat) && stat.startTicks === name.startTicks && bootId() === name.bootId;
}

export function isDead(stat: ProcessStat): boolean {
	return stat.state === 'Z' || stat.state === 'X';
}

/** The inode of a process's pid namespace; undefined when gone or not ours to see. */
export function pidNamespace(pid: number): number | undefined {
	try {
		const text = readlinkSync(`/proc/${pid}/ns/pid`);
		return Number(/^pid:\[(\d+)\]$/.exec(text)?.[1]);
	} catch {
		return undefined;
	}
}

/** Every live process in one pid namespace, as host pids. */
export function pidsInNamespace(inode: number): number[] {
	return allPids().filter((pid) => {
		if (pidNamespace(pid) !== inode) return false;
		const stat = readStat(pid);
		return stat !== undefined && !isDead(stat);
	});
}

/** Every pid on the host that this process may see. */
export function allPids(): number[] {
	return readdirSync('/proc')
		.filter((name) => /^\d+$/.test(name))
		.map(Number);
}

/** The pid inside the innermost namespace, from `NSpid`; undefined when gone. */
export function innerPid(pid: number): number | undefined {
	const line = /^NSpid:\s+(.+)$/m.exec(readProc(`/proc/${pid}/status`) ?? '')?.[1];
	return line === undefined ? undefined : Number(line.trim().split(/\s+/).at(-1));
}

/** Real uid of a process; undefined when gone. */
export function uidOf(pid: number): number | undefined {
	const line = /^Uid:\s+(\d+)/m.exec(readProc(`/proc/${pid}/status`) ?? '')?.[1];
	return line === undefined ? undefined : Number(line);
}

function readProc(path: string): string | undefined {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return undefined;
	}
}
