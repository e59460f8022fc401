// Keeps the integrations of one instance: restore before the workload starts and after a sleep, checkpoint before one, health in
// between. Commands run as the workload user through `run`; which of them may block a sleep is for the host to decide.
//
//   pending ──directories, restore──▶ active ⇄ paused (a checkpoint runs, or all is held for a sleep)
//      └── a failed restore or health check ──▶ error, until the next one that passes
import type { IntegrationEntry, IntegrationHealthResult, IntegrationStateReport, IntegrationStatus } from '@mvm/protocol';
import type { CommandResult, Log } from '../adapter.ts';
import { reasonOf } from '../commands/run-command.ts';
import { utc } from '../host-time.ts';
import type { Storage } from './storage.ts';

const RESTORE_TIMEOUT_MS = 60_000;
const STARTING_MS = 60_000;
const STARTING_INTERVAL_MS = 2_000;
const SIZE_AGE_MS = 10_000;
const MAX_DETAIL_CHARS = 2000;
const MAX_RESULT_CHARS = 8000;

interface Kept {
	readonly entry: IntegrationEntry;
	isRestored: boolean;
	isCheckpointing: boolean;
	problem: string | undefined;
	health: IntegrationHealthResult | null;
	lastCheckpointAt: string | null;
	stateSizeBytes: number;
}

export interface IntegrationsDeps {
	readonly storage: Storage;
	/** Directories of the workload itself that must exist, its home. */
	readonly otherDirs: readonly string[];
	readonly run: (
		command: readonly string[],
		options: { timeoutMs: number; signal: AbortSignal; env: Readonly<Record<string, string>> },
	) => Promise<CommandResult>;
	readonly now: () => number;
	readonly log: Log;
	/** Marks the agent busy with a named thing; the returned function ends that. */
	readonly busy: (reason: string) => () => void;
	readonly checkpointTimeoutMs: number;
}

export interface CheckpointOutcome {
	readonly success: boolean;
	readonly failed: string[];
	readonly detail: string | null;
}

export class Integrations {
	readonly #deps: IntegrationsDeps;
	readonly #kept: readonly Kept[];
	readonly #health = new AbortController();
	#isHeld = false;
	#lastLookAt = 0;
	#last: Promise<unknown> = Promise.resolve();

	constructor(entries: readonly IntegrationEntry[], deps: IntegrationsDeps) {
		this.#deps = deps;
		this.#kept = entries.map((entry) => ({
			entry,
			isRestored: false,
			isCheckpointing: false,
			problem: undefined,
			health: null,
			lastCheckpointAt: null,
			stateSizeBytes: 0,
		}));
	}

	/** While held, nothing is checked and every healthy integration reads `paused`. */
	hold(isHeld: boolean): void {
		this.#isHeld = isHeld;
	}

	/** At a boot makes the directories, too. Restore commands run side by side. Returns the names of critical ones that failed. */
	restore(reason: 'boot' | 'wake', signal: AbortSignal): Promise<readonly string[]> {
		return this.#inTurn(async () => {
			const names = this.#kept.map(({ entry }) => entry.name);
			const problem = reason === 'wake' ? undefined : await this.#deps.storage.ensure(names, this.#deps.otherDirs, signal);
			if (problem !== undefined) {
				this.#deps.log('error', 'state directories could not be made', { why: problem });
				for (const kept of this.#kept) kept.problem = `no state directory: ${problem}`.slice(0, MAX_DETAIL_CHARS);
				return this.#kept.filter(({ entry }) => entry.critical).map(({ entry }) => entry.name);
			}
			// Only for the reports: the workload does not wait for it.
			if (reason === 'boot') void this.#look(signal);
			await Promise.all(this.#kept.map((kept) => this.#restoreOne(kept, reason, signal)));
			return this.#kept.filter((kept) => kept.entry.critical && !kept.isRestored).map(({ entry }) => entry.name);
		});
	}

	/** No names: all of them. Names that do not exist count as failed. */
	checkpoint(wanted: readonly string[], signal: AbortSignal): Promise<CheckpointOutcome> {
		return this.#inTurn(async () => {
			const known = new Map<string, Kept>(this.#kept.map((kept) => [kept.entry.name, kept]));
			const names = wanted.length === 0 ? [...known.keys()] : [...new Set(wanted)];
			const problems = await Promise.all(
				names.map(async (name) => {
					const kept = known.get(name);
					const problem = kept === undefined ? 'no such integration' : await this.#checkpointOne(kept, signal);
					return problem === undefined ? [] : [{ name, problem }];
				}),
			);
			const failed = problems.flat();
			const detail = failed.map(({ name, problem }) => `${name}: ${problem}`).join('; ');
			return {
				success: failed.length === 0,
				failed: failed.map(({ name }) => name),
				detail: failed.length === 0 ? null : detail.slice(0, MAX_RESULT_CHARS),
			};
		});
	}

	async reports(signal: AbortSignal): Promise<IntegrationStateReport[]> {
		if (this.#deps.now() - this.#lastLookAt > SIZE_AGE_MS && this.#kept.some((kept) => kept.isRestored)) await this.#look(signal);
		return this.#kept.map((kept) => ({
			name: kept.entry.name,
			status: this.#statusOf(kept),
			lastCheckpointAt: kept.lastCheckpointAt,
			stateSizeBytes: kept.stateSizeBytes,
			health: kept.health,
		}));
	}

	/** Starts a loop per health command; they do not wait for each other. */
	startHealth(): void {
		for (const kept of this.#kept) if (kept.entry.healthCmd !== null) void this.#watch(kept, kept.entry.healthCmd);
	}

	stop(): void {
		this.#health.abort();
	}

	#statusOf(kept: Kept): IntegrationStatus {
		if (kept.problem !== undefined) return { error: kept.problem };
		if (!kept.isRestored) return 'pending';
		if (kept.isCheckpointing || this.#isHeld) return 'paused';
		if (kept.entry.healthCmd === null) return 'active';
		if (kept.health === null) return 'pending';
		return kept.health.healthy ? 'active' : { error: kept.health.detail };
	}

	async #restoreOne(kept: Kept, reason: string, signal: AbortSignal): Promise<void> {
		const { name, restoreCmd } = kept.entry;
		let problem: string | undefined;
		if (restoreCmd !== null) {
			const options = { timeoutMs: RESTORE_TIMEOUT_MS, signal, env: { MVM_RESTORE_REASON: reason } };
			problem = await this.#command(kept, 'restore', restoreCmd, options);
		}
		kept.isRestored = problem === undefined;
		kept.problem = problem === undefined ? undefined : `restore failed: ${problem}`;
		if (problem !== undefined) this.#deps.log('error', 'integration not restored', { integration: name, why: problem });
	}

	/** Returns why not, or nothing. */
	async #checkpointOne(kept: Kept, signal: AbortSignal): Promise<string | undefined> {
		const { name, checkpointCmd } = kept.entry;
		if (!kept.isRestored) return kept.problem ?? 'not restored yet';
		kept.isCheckpointing = true;
		try {
			if (checkpointCmd !== null) {
				const options = { timeoutMs: this.#deps.checkpointTimeoutMs, signal, env: {} };
				const problem = await this.#command(kept, 'checkpoint', checkpointCmd, options);
				if (problem !== undefined) return problem;
			}
			const at = utc(this.#deps.now());
			const problem = await this.#deps.storage.mark(name, at, signal);
			if (problem !== undefined) return `marker file: ${problem}`;
			kept.lastCheckpointAt = at;
			const [found] = await this.#deps.storage.look([name], signal);
			kept.stateSizeBytes = found?.stateSizeBytes ?? kept.stateSizeBytes;
			return undefined;
		} finally {
			kept.isCheckpointing = false;
		}
	}

	async #command(
		kept: Kept,
		kind: string,
		command: string,
		options: { timeoutMs: number; signal: AbortSignal; env: Readonly<Record<string, string>> },
	): Promise<string | undefined> {
		const done = this.#deps.busy(`${kind}:${kept.entry.name}`);
		try {
			const env = { ...options.env, MVM_INTEGRATION: kept.entry.name };
			const result = await this.#deps.run(['/bin/sh', '-c', command], { ...options, env });
			return result.code === 0 ? undefined : reasonOf(result).slice(-MAX_DETAIL_CHARS);
		} finally {
			done();
		}
	}

	async #watch(kept: Kept, command: string): Promise<void> {
		const { signal } = this.#health;
		const startedAt = performance.now();
		let wasHealthy = false;
		while (!signal.aborted) {
			if (kept.isRestored && !this.#isHeld) {
				const timeoutMs = kept.entry.healthTimeoutSecs * 1000;
				const env = { MVM_INTEGRATION: kept.entry.name };
				const result = await this.#deps.run(['/bin/sh', '-c', command], { timeoutMs, signal, env });
				if (signal.aborted) return;
				const healthy = result.code === 0;
				if (healthy !== (kept.health?.healthy ?? true))
					this.#deps.log(healthy ? 'info' : 'warn', 'integration health changed', { integration: kept.entry.name, healthy });
				const detail = healthy ? 'ok' : reasonOf(result).slice(-MAX_DETAIL_CHARS);
				kept.health = { healthy, detail, checkedAt: utc(this.#deps.now()) };
			}
			// While it starts, look more often: a healthy instance is not to be called pending for half a minute.
			wasHealthy ||= kept.health?.healthy === true;
			const isStarting = !wasHealthy && performance.now() - startedAt < STARTING_MS;
			const intervalMs = kept.entry.healthIntervalSecs * 1000;
			await pause(isStarting ? Math.min(intervalMs, STARTING_INTERVAL_MS) : intervalMs, signal);
		}
	}

	async #look(signal: AbortSignal): Promise<void> {
		this.#lastLookAt = this.#deps.now();
		const found = await this.#deps.storage.look(
			this.#kept.map(({ entry }) => entry.name),
			signal,
		);
		for (const [at, kept] of this.#kept.entries()) {
			kept.stateSizeBytes = found[at]?.stateSizeBytes ?? 0;
			kept.lastCheckpointAt = found[at]?.lastCheckpointAt ?? kept.lastCheckpointAt;
		}
	}

	/** Checkpoints and restores never overlap. */
	#inTurn<T>(work: () => Promise<T>): Promise<T> {
		const mine = this.#last.then(work, work);
		this.#last = mine;
		return mine;
	}
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
	return new Promise((resolve) => {
		const done = (): void => {
			clearTimeout(timer);
			signal.removeEventListener('abort', done);
			resolve();
		};
		const timer = setTimeout(done, ms);
		signal.addEventListener('abort', done, { once: true });
		if (signal.aborted) done();
	});
}
