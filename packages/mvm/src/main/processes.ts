// Child processes of the supervisor: started with a clean environment, restarted with back-off, ended with it.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { systemClock } from '../drivers/clock/system.ts';
import type { Logger } from '../platform/logger.ts';

export interface ProcessSpec {
	readonly name: string;
	readonly argv: readonly [string, ...string[]];
	/** User to run as; absent: the supervisor's own. */
	readonly user?: { readonly uid: number; readonly gid: number };
	readonly env: Readonly<Record<string, string>>;
	readonly logFile: string;
}

/** Nothing is served while one of them is down, so even one that keeps dying is not kept down for long. */
const MAX_BACKOFF_MS = 2_000;
/** A process that lived this long starts with a fresh back-off. */
const STABLE_MS = 10_000;

/** Keeps one process running until `stop`. */
export class KeptProcess {
	readonly #spec: ProcessSpec;
	readonly #log: Logger;
	#child: ChildProcess | undefined;
	#stopping = false;
	#failures = 0;
	#ended: Promise<void> = Promise.resolve();

	constructor(spec: ProcessSpec, log: Logger) {
		this.#spec = spec;
		this.#log = log.child({ process: spec.name });
	}

	/** Ends in a row; 0 while the first one lives. */
	get failures(): number {
		return this.#failures;
	}

	start(): void {
		const { argv, user, env, logFile } = this.#spec;
		const log = openSync(logFile, 'a', 0o640);
		// setpriv drops the rights in one step and asks the kernel to send SIGTERM should the supervisor die.
		const drop =
			user === undefined
				? []
				: [
						'--reuid',
						String(user.uid),
						'--regid',
						String(user.gid),
						'--clear-groups',
						'--inh-caps=-all',
						'--bounding-set=-all',
						'--no-new-privs',
					];
		const startedAt = systemClock.monotonic();
		const child = spawn('setpriv', [...drop, '--pdeathsig', 'TERM', '--', ...argv], {
			stdio: ['ignore', log, log],
			env,
			detached: true, // its own process group: a terminal's Ctrl-C must not reach it before the supervisor decides
			cwd: '/',
		});
		closeSync(log);
		this.#child = child;
		this.#ended = new Promise((resolve) => {
			child.on('error', (error) => this.#log.error({ err: error }, 'process could not be started'));
			child.on('close', (code, signal) => {
				resolve();
				this.#child = undefined;
				if (this.#stopping) return;
				this.#failures = systemClock.monotonic() - startedAt > STABLE_MS ? 1 : this.#failures + 1;
				const delayMs = Math.min(MAX_BACKOFF_MS, 100 * 2 ** (this.#failures - 1));
				this.#log.warn({ code, signal, delay_ms: delayMs, failures: this.#failures }, 'process ended, restarting');
				setTimeout(() => {
					if (!this.#stopping) this.start();
				}, delayMs);
			});
		});
	}

	/** Asks it (SIGINT: put everything to rest) and waits; kills it after `graceMs`. */
	async stop(graceMs: number): Promise<void> {
		this.#stopping = true;
		const child = this.#child;
		if (child === undefined) return;
		child.kill('SIGINT');
		const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
		await this.#ended;
		clearTimeout(timer);
	}
}
