// bubblewrap's json-status file: one JSON object a line, the first with the pids, the last with the exit code. It is a file
// so that it outlives hostd. Written by bubblewrap outside of the sandbox; the guest has no descriptor of it.
import { readFileSync } from 'node:fs';
import * as z from 'zod/mini';

const Line = z.object({
	'child-pid': z.optional(z.int()),
	'pid-namespace': z.optional(z.int()),
	'exit-code': z.optional(z.int()),
});

export interface SandboxStatus {
	/** Host pid of the sandbox's init. */
	readonly initPid?: number;
	readonly pidNamespace?: number;
	readonly exitCode?: number;
}

/** Parses what is there; a line that is not whole yet is left out. */
export function parseStatus(text: string): SandboxStatus {
	let status: SandboxStatus = {};
	for (const line of text.split('\n').slice(0, -1)) {
		const parsed = Line.safeParse(parseJson(line));
		if (!parsed.success) continue;
		const { 'child-pid': initPid, 'pid-namespace': pidNamespace, 'exit-code': exitCode } = parsed.data;
		if (initPid !== undefined) status = { ...status, initPid };
		if (pidNamespace !== undefined) status = { ...status, pidNamespace };
		if (exitCode !== undefined) status = { ...status, exitCode };
	}
	return status;
}

export function readStatus(path: string): SandboxStatus {
	try {
		return parseStatus(readFileSync(path, 'utf8'));
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
		throw error;
	}
}

function parseJson(line: string): unknown {
	try {
		return JSON.parse(line);
	} catch {
		return undefined;
	}
}
