// Starts the workload as its own user, watches it become ready, starts it again when it ends, stops it politely.
//
//   none | starting ──probe──▶ ready      exits: back-off, then starting again; five short lives in a row: crash_loop
//          starting (no probe) ──▶ running
//
// Must not judge idleness and must not touch the workload's files.
import { type ChildProcess, spawn } from 'node:child_process';
import type { SupervisorStatus, Workload as WorkloadConfig } from '@mvm/protocol';
import type { Log, WorkloadAdapter } from '../adapter.ts';
import { signalGroup, type User } from '../commands/process-group.ts';
import { type Console, lineSplitter } from '../console.ts';
import { probe } from './probe.ts';

type Status = SupervisorStatus['workload'];

const SHORT_LIFE_MS = 10_000;
const SHORT_LIVES_FOR_LOOP = 5;
const BACK_OFF_MS = [250, 500, 1000, 2000, 4000] as const;
const LOOP_BACK_OFF_MS = 30_000;
const KEPT_LINES = 40;
const KEPT_LINE_CHARS = 500;
const FIRST_PROBES_MS = 15;
const LATER_PROBES_MS = 250;
const EAGER_MS = 3_000;
const BEFORE_START_MS = 30_000;

export interface WorkloadDeps {
	readonly config: WorkloadConfig;
	readonly user: User | undefined;
	readonly env: Readonly<Record<string, string>>;
	/** Used when it can be entered, else `/`. */
	readonly cwd: string;
	readonly adapter: WorkloadAdapter;
	readonly console: Console;
	readonly log: Log;
	/** Called with the adapter's variables before each start; throws when the workload must not start now. */
	readonly beforeSpawn: (adapterEnv: Readonly<Record<string, string>>, signal: AbortSignal) => Promise<void>;
	readonly onReady: () => void;
	/** A start failed before there was a process. */
	readonly onNotStarted: () => void;
}

export class Workload {
	readonly #deps: WorkloadDeps;
	readonly #stop = new AbortController();
	readonly #lines: string[] = [];
	#state: Status['state'];
	#child: ChildProcess | undefined;
	#starts = 0;
	#shortLives = 0;
	#lastExit: Status['lastExit'] = null;
	#readyMs: number | undefined;
	#loop: Promise<void> | undefined;
	#retry: (() => void) | undefined;

	constructor(deps: WorkloadDeps) {
		this.#deps = deps;
		this.#state = deps.config.command.length === 0 ? 'none' : 'starting';
	}

	start(): void {
		this.#loop ??= this.#run();
	}

	/** Ends a back-off early: what stood in the way may be gone. */
	retry(): void {
		this.#retry?.();
	}

	status(): Status {
		return {
			state: this.#state,
			pid: this.#child?.pid ?? null,
			restarts: Math.max(this.#starts - 1, 0),
			lastExit: this.#lastExit,
			...(this.#readyMs === undefined ? {} : { readyMs: this.#readyMs }),
			lastLogLines: [...this.#lines],
		};
	}

	/** Polite signal, then after the configured time the other. Resolves when the process is gone. */
	async stop(): Promise<void> {
		this.#stop.abort();
		this.#retry?.();
		const child = this.#child;
		if (child?.pid !== undefined) {
			const { pid } = child;
			const exited = new Promise<void>((done) => child.once('exit', () => done()));
			await signalGroup(pid, 'TERM', this.#deps.user);
			const timer = setTimeout(() => void signalGroup(pid, 'KILL', this.#deps.user), this.#deps.config.stopTimeoutSecs * 1000);
			if (child.exitCode === null && child.signalCode === null) await exited;
			clearTimeout(timer);
			// Helpers it left behind.
			await signalGroup(pid, 'KILL', this.#deps.user);
		}
		await this.#loop;
	}

	async #run(): Promise<void> {
		const { signal } = this.#stop;
		while (!signal.aborted) {
			const startedAt = performance.now();
			try {
				if (this.#state !== 'none') this.#state = this.#shortLives >= SHORT_LIVES_FOR_LOOP ? 'crash_loop' : 'starting';
				const limit = AbortSignal.any([signal, AbortSignal.timeout(BEFORE_START_MS)]);
				const adapterEnv = await this.#deps.adapter.beforeStart({ signal: limit });
				await this.#deps.beforeSpawn(adapterEnv, signal);
				if (signal.aborted || this.#state === 'none') return;
				await this.#live({ ...this.#deps.env, ...adapterEnv });
			} catch (error) {
				this.#note(`not started: ${(error as Error).message}`);
				this.#deps.onNotStarted();
				if (this.#state === 'none') return;
			}
			if (signal.aborted) break;
			this.#shortLives = performance.now() - startedAt < SHORT_LIFE_MS ? this.#shortLives + 1 : 0;
			this.#state = this.#shortLives >= SHORT_LIVES_FOR_LOOP ? 'crash_loop' : 'exited';
			const waitMs = this.#state === 'crash_loop' ? LOOP_BACK_OFF_MS : (BACK_OFF_MS[this.#shortLives - 1] ?? BACK_OFF_MS[0]);
			this.#deps.log(this.#state === 'crash_loop' ? 'error' : 'warn', 'workload is down', {
				state: this.#state,
				last_exit: this.#lastExit,
				retry_ms: waitMs,
			});
			await this.#backOff(waitMs);
		}
	}

	/** One life: from the start of the process to its end. */
	async #live(env: Readonly<Record<string, string>>): Promise<void> {
		const { config, user } = this.#deps;
		const [program = '', ...args] = config.command;
		this.#starts += 1;
		this.#readyMs = undefined;
		const { promise, resolve } = Promise.withResolvers<void>();
		const child = spawn(program, args, {
			...(user ?? {}),
			env: { ...env },
			cwd: this.#deps.cwd,
			detached: true,
			stdio: ['ignore', 'pipe', 'pipe'],
		});
		this.#child = child;
		this.#deps.log('info', 'workload started', { pid: child.pid, start: this.#starts });
		for (const stream of [child.stdout, child.stderr]) {
			const lines = lineSplitter((line) => this.#line(line));
			stream
				?.on('data', lines.push)
				.on('end', lines.end)
				.on('error', () => {});
		}
		const watch = new AbortController();
		child.once('error', (error) => {
			this.#note(`could not be started: ${error.message}`);
			this.#lastExit = { code: null, signal: null };
			resolve();
		});
		child.once('exit', (code, signal) => {
			this.#lastExit = { code, signal };
			resolve();
		});
		if (config.ready === undefined) this.#becomes('running');
		else void this.#watchReady(config.ready, performance.now(), watch.signal);
		await promise;
		watch.abort();
		if (child.pid !== undefined) await signalGroup(child.pid, 'KILL', user);
		this.#child = undefined;
	}

	async #watchReady(ready: NonNullable<WorkloadConfig['ready']>, startedAt: number, signal: AbortSignal): Promise<void> {
		let isOverdue = false;
		while (!signal.aborted) {
			const problem = await probe(ready, signal);
			if (signal.aborted) return;
			const ms = Math.round(performance.now() - startedAt);
			if (problem === undefined) {
				this.#readyMs = ms;
				this.#becomes('ready');
				return;
			}
			if (!isOverdue && ms > ready.timeoutSecs * 1000) {
				isOverdue = true;
				this.#note(`not ready after ${ready.timeoutSecs} s: ${problem}`);
			}
			await new Promise((done) => setTimeout(done, ms < EAGER_MS ? FIRST_PROBES_MS : LATER_PROBES_MS));
		}
	}

	#becomes(state: 'ready' | 'running'): void {
		this.#state = state;
		this.#deps.log('info', 'workload is up', { state, ready_ms: this.#readyMs });
		this.#deps.onReady();
	}

	#line(line: string): void {
		this.#deps.console.line('workload', line);
		this.#keep(line);
	}

	/** Something the supervisor has to say about the workload, among the workload's own lines. */
	#note(text: string): void {
		this.#deps.log('error', 'workload trouble', { why: text });
		this.#keep(`[mvm] ${text}`);
	}

	#keep(line: string): void {
		this.#lines.push(line.slice(0, KEPT_LINE_CHARS));
		if (this.#lines.length > KEPT_LINES) this.#lines.shift();
	}

	#backOff(ms: number): Promise<void> {
		return new Promise((resolve) => {
			const done = (): void => {
				clearTimeout(timer);
				this.#retry = undefined;
				resolve();
			};
			const timer = setTimeout(done, ms);
			this.#retry = done;
		});
	}
}
