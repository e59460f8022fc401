// Runs one command as the workload user in a process group of its own, with a deadline that ends the whole group, and keeps the
// end of what it said. Used for integration commands, adapters and the constant scripts of integrations/storage.ts.
import { type ChildProcess, spawn } from 'node:child_process';
import type { CommandResult } from '../adapter.ts';
import { signalGroup, type User } from './process-group.ts';

const MAX_OUTPUT_BYTES = 64 * 1024;
/** From the polite signal to the other. */
const GRACE_MS = 1000;
/** A background child may hold the pipes open after the command itself ended. */
const PIPES_MS = 200;

export interface RunOptions {
	readonly user: User | undefined;
	readonly env: Readonly<Record<string, string>>;
	readonly cwd: string;
	readonly timeoutMs: number;
	readonly signal: AbortSignal;
}

/** Never rejects: a command that cannot be started has code null and the reason in `stderr`. */
export function runCommand(command: readonly string[], options: RunOptions): Promise<CommandResult> {
	const { promise, resolve } = Promise.withResolvers<CommandResult>();
	const startedAt = performance.now();
	const out = tail();
	const err = tail();
	let timedOut = false;
	const [program = '', ...args] = command;
	let child: ChildProcess;
	try {
		child = spawn(program, args, {
			...(options.user ?? {}),
			env: { ...options.env },
			cwd: options.cwd,
			detached: true,
			stdio: ['ignore', 'pipe', 'pipe'],
		});
	} catch (error) {
		const stderr = `failed to execute: ${(error as Error).message}`;
		return Promise.resolve({ code: null, signal: null, timedOut: false, stdout: '', stderr, ms: 0 });
	}
	// Without descriptors left there are no pipes; the error event says so.
	child.stdout?.on('data', out.push);
	child.stderr?.on('data', err.push);
	const timers: NodeJS.Timeout[] = [];
	const stop = (): void => {
		if (timedOut) return;
		timedOut = true;
		const { pid } = child;
		if (pid === undefined) return;
		void signalGroup(pid, 'TERM', options.user);
		timers.push(setTimeout(() => void signalGroup(pid, 'KILL', options.user), GRACE_MS));
	};
	timers.push(setTimeout(stop, options.timeoutMs));
	options.signal.addEventListener('abort', stop, { once: true });
	if (options.signal.aborted) stop();
	let isSettled = false;
	const settle = async (code: number | null, signal: string | null): Promise<void> => {
		if (isSettled) return;
		isSettled = true;
		for (const timer of timers) clearTimeout(timer);
		options.signal.removeEventListener('abort', stop);
		// Whoever of the group ignored the polite signal goes now; the leader's number stays taken while a member lives.
		if (timedOut && child.pid !== undefined) await signalGroup(child.pid, 'KILL', options.user);
		child.stdout?.destroy();
		child.stderr?.destroy();
		resolve({
			code: timedOut ? null : code,
			signal,
			timedOut,
			stdout: out.text(),
			stderr: err.text(),
			ms: performance.now() - startedAt,
		});
	};
	child.once('error', (error) => {
		err.push(Buffer.from(`failed to execute: ${error.message}`));
		void settle(null, null);
	});
	child.once('exit', (code, signal) => {
		timers.push(setTimeout(() => void settle(code, signal), PIPES_MS));
	});
	child.once('close', (code, signal) => void settle(code, signal));
	return promise;
}

/** Why a command failed, in a line: its standard error, else how it ended. */
export function reasonOf(result: CommandResult): string {
	if (result.timedOut) return `timed out after ${Math.round(result.ms)} ms`;
	const said = result.stderr.trim();
	if (said !== '') return said.slice(-2000);
	return result.code === null ? `killed by ${result.signal ?? 'a signal'}` : `exit code ${result.code}`;
}

function tail(): { push: (chunk: Buffer) => void; text: () => string } {
	let kept = Buffer.alloc(0);
	return {
		push: (chunk) => {
			kept = Buffer.concat([kept, chunk]);
			if (kept.length > MAX_OUTPUT_BYTES) kept = kept.subarray(kept.length - MAX_OUTPUT_BYTES);
		},
		text: () => kept.toString('utf8'),
	};
}
