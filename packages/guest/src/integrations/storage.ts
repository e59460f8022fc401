// What integrations have on disk: state directories, marker files, sizes. `/data` belongs to the workload user, whose files the
// supervisor cannot open; so each look and each change is a constant script run as that user, with paths as arguments.
import { join } from 'node:path';
import type { CommandResult } from '../adapter.ts';

export type RunAsWorkload = (
	command: readonly string[],
	options: { timeoutMs: number; signal: AbortSignal },
) => Promise<CommandResult>;

const TIMEOUT_MS = 10_000;
const MAKE = 'umask 077; exec mkdir -p -- "$@"';
const LOOK = `for d in "$@"; do
	s=$(du -sb -- "$d/state" 2>/dev/null) || s=0
	m=$(head -c 40 -- "$d/checkpoint" 2>/dev/null | tr -cd '0-9TZ:.+-')
	printf '%s %s\\n' "\${s%%[!0-9]*}" "$m"
done`;
const MARK = 'umask 077; t="$1.$$.tmp" && printf "%s\\n" "$2" > "$t" && sync -- "$t" && mv -f -- "$t" "$1"';

export interface Found {
	readonly stateSizeBytes: number;
	/** Content of the marker file; null without one. */
	readonly lastCheckpointAt: string | null;
}

export interface Storage {
	/** Makes every state directory and the given others; returns why not, or nothing. */
	ensure(names: readonly string[], others: readonly string[], signal: AbortSignal): Promise<string | undefined>;
	/** In the order of the names. */
	look(names: readonly string[], signal: AbortSignal): Promise<readonly Found[]>;
	/** Writes the marker file durably; returns why not, or nothing. */
	mark(name: string, at: string, signal: AbortSignal): Promise<string | undefined>;
}

export function makeStorage(baseDir: string, run: RunAsWorkload): Storage {
	const dirOf = (name: string): string => join(baseDir, name);
	const script = (text: string, args: readonly string[], signal: AbortSignal): Promise<CommandResult> =>
		run(['/bin/sh', '-c', text, 'sh', ...args], { timeoutMs: TIMEOUT_MS, signal });
	const problem = (result: CommandResult): string | undefined =>
		result.code === 0 ? undefined : result.stderr.trim() || `ended with ${result.code ?? result.signal}`;
	return {
		async ensure(names, others, signal) {
			const dirs = [...names.map((name) => join(dirOf(name), 'state')), ...others];
			return dirs.length === 0 ? undefined : problem(await script(MAKE, dirs, signal));
		},
		async look(names, signal) {
			if (names.length === 0) return [];
			const { stdout } = await script(LOOK, names.map(dirOf), signal);
			const lines = stdout.split('\n');
			return names.map((_, at) => {
				const [size = '', marker = ''] = (lines[at] ?? '').split(' ');
				return { stateSizeBytes: Number(size) || 0, lastCheckpointAt: marker === '' ? null : marker };
			});
		},
		mark: async (name, at, signal) => problem(await script(MARK, [join(dirOf(name), 'checkpoint'), at], signal)),
	};
}
