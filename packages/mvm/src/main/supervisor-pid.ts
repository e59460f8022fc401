// Who runs the platform in these folders: a pid with its start time, so that a reused pid is never signalled.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readStat } from '../drivers/runtime/process/process-table.ts';

/** Written by `mvm up` once its folders exist. */
export function writeSupervisorPid(path: string): void {
	writeFileSync(path, JSON.stringify({ pid: process.pid, start_ticks: readStat(process.pid)?.startTicks }), { mode: 0o600 });
}

export function removeSupervisorPid(path: string): void {
	rmSync(path, { force: true });
}

/** The supervisor's pid when it lives. */
export function readSupervisorPid(path: string): number | undefined {
	try {
		const { pid, start_ticks: ticks } = JSON.parse(readFileSync(path, 'utf8')) as { pid: number; start_ticks: number };
		return readStat(pid)?.startTicks === ticks ? pid : undefined;
	} catch {
		return undefined; // no file: nobody is up
	}
}
