// Going to rest and coming back: SleepPrep, Wake and PostRestore, which belong together because each undoes or completes another.
//
//   awake ──SleepPrep: drained and held──▶ held ──Wake──▶ awake, and restore commands run behind it
//     ▲└──SleepPrep: not in the budget──┘    PostRestore with a later incarnation: as after a SleepPrep
//
// At a boot the restore commands run before the workload starts. After a thaw its memory is whole and nobody touched `/data`, so
// they do not stand between a message and its answer; one that fails is reported and blocks the next checkpoint.

import { closeSync, openSync, writeSync } from 'node:fs';
import type { GuestRequest } from '@mvm/protocol';
import type { Activity } from './activity.ts';
import type { Log, SleepReadiness, WorkloadAdapter } from './adapter.ts';
import type { HostTime } from './host-time.ts';
import type { IdentityHolder } from './identity.ts';
import type { Integrations } from './integrations/manager.ts';

type PostRestore = Extract<GuestRequest, { readonly kind: 'PostRestore' }>;

const RESUME_MS = 20_000;
const MAX_BUDGET_SECS = 3600;
const ADAPTER_EXTRA_MS = 5_000;
const RESTORE_MS = 5 * 60_000;
/** The first request after a thaw has the processor to itself. */
const RESTORE_AFTER_MS = 300;
const MAX_SEED_CHARS = 1024;

export interface RestDeps {
	readonly activity: Activity;
	readonly adapter: WorkloadAdapter;
	readonly integrations: Integrations;
	readonly identity: IdentityHolder;
	readonly time: HostTime;
	readonly log: Log;
	/** Resolves when the restore of this boot is over; false when a critical one failed. */
	readonly booted: () => Promise<boolean>;
	/** The workload may try again to start. */
	readonly retryWorkload: () => void;
}

export class Rest {
	readonly #deps: RestDeps;
	#isHeld = false;
	#needsRestore = false;
	#waking: Promise<boolean> | undefined;
	#preparing: { readonly done: Promise<SleepReadiness>; readonly callOff: () => void } | undefined;
	#restoreTimer: NodeJS.Timeout | undefined;

	constructor(deps: RestDeps) {
		this.#deps = deps;
	}

	/** Nothing of it may outlive the agent. */
	stop(): void {
		clearTimeout(this.#restoreTimer);
	}

	/** True from a SleepPrep until the Wake after it, or until it failed: no forwards then. */
	get isHeld(): boolean {
		return this.#isHeld;
	}

	/**
	 * Waits for what is in flight, then has the adapter hold the workload, all within the budget. Undone when it fails, when the
	 * caller hangs up and when a Wake comes. A second caller joins the first.
	 */
	sleepPrep(budgetSecs: number, signal: AbortSignal): Promise<SleepReadiness> {
		if (this.#waking !== undefined) return Promise.resolve({ ready: false, reason: 'a wake is under way' });
		if (this.#preparing !== undefined) return this.#preparing.done;
		if (this.#isHeld) return Promise.resolve({ ready: true });
		const calledOff = new AbortController();
		const done = this.#prepare(Math.min(budgetSecs, MAX_BUDGET_SECS) * 1000, AbortSignal.any([signal, calledOff.signal])).finally(
			() => {
				this.#preparing = undefined;
			},
		);
		this.#preparing = { done, callOff: () => calledOff.abort() };
		return done;
	}

	/** Lifts what SleepPrep holds. False when the workload did not resume, or when a critical restore of this boot failed again. */
	wake(): Promise<boolean> {
		this.#waking ??= this.#wake().finally(() => {
			this.#waking = undefined;
		});
		return this.#waking;
	}

	/** Why the new identity is refused, or nothing. */
	postRestore(message: PostRestore): string | undefined {
		const { incarnation } = this.#deps.identity.current();
		if (message.incarnation < incarnation) return `incarnation ${message.incarnation} is before ${incarnation}`;
		if (message.token === '') return 'no token';
		if (message.incarnation > incarnation) this.#needsRestore = true;
		this.#deps.identity.replace({ incarnation: message.incarnation, token: message.token });
		this.#deps.time.step(message.nowMs);
		if (message.reseed !== '') this.#stir(message.reseed);
		this.#deps.log('info', 'new incarnation', { incarnation: message.incarnation, offset_ms: this.#deps.time.offsetMs() });
		return undefined;
	}

	async #prepare(budgetMs: number, signal: AbortSignal): Promise<SleepReadiness> {
		clearTimeout(this.#restoreTimer);
		this.#hold(true);
		let outcome: SleepReadiness;
		try {
			outcome = await this.#drain(performance.now() + budgetMs, signal);
		} catch (error) {
			outcome = { ready: false, reason: (error as Error).message };
		}
		if (outcome.ready && signal.aborted) {
			outcome = { ready: false, reason: 'called off' };
			await this.#resume();
		}
		if (outcome.ready) {
			this.#needsRestore = true;
			return outcome;
		}
		this.#hold(false);
		this.#restoreSoon();
		this.#deps.log('warn', 'sleep refused', { why: outcome.reason });
		return outcome;
	}

	async #drain(deadline: number, signal: AbortSignal): Promise<SleepReadiness> {
		const { activity, adapter } = this.#deps;
		const leftMs = (): number => Math.max(Math.floor(deadline - performance.now()), 0);
		const isQuiet = await activity.quiet(AbortSignal.any([signal, AbortSignal.timeout(leftMs())]));
		if (!isQuiet)
			return { ready: false, reason: signal.aborted ? 'called off' : `still busy: ${activity.ownReasons().join(', ')}` };
		const budgetMs = leftMs();
		// The adapter has the rest of the budget and a little to say why not.
		return adapter.prepareSleep({
			budgetMs,
			signal: AbortSignal.any([signal, AbortSignal.timeout(budgetMs + ADAPTER_EXTRA_MS)]),
		});
	}

	/** False when the workload would not. */
	async #resume(): Promise<boolean> {
		try {
			await this.#deps.adapter.resume({ signal: AbortSignal.timeout(RESUME_MS) });
			return true;
		} catch (error) {
			this.#deps.log('error', 'workload not resumed', { why: (error as Error).message });
			return false;
		}
	}

	async #wake(): Promise<boolean> {
		this.#preparing?.callOff();
		await this.#preparing?.done;
		const isBooted = await this.#deps.booted();
		let isWhole = await this.#resume();
		if (!isBooted) {
			const failed = await this.#deps.integrations.restore('boot', AbortSignal.timeout(RESTORE_MS));
			if (failed.length > 0) isWhole = false;
		}
		if (isWhole) {
			this.#hold(false);
			this.#deps.retryWorkload();
			this.#restoreSoon();
		}
		return isWhole;
	}

	#restoreSoon(): void {
		clearTimeout(this.#restoreTimer);
		if (!this.#needsRestore) return;
		this.#restoreTimer = setTimeout(() => {
			this.#needsRestore = false;
			void this.#deps.integrations.restore('wake', AbortSignal.timeout(RESTORE_MS));
		}, RESTORE_AFTER_MS);
	}

	#hold(isHeld: boolean): void {
		this.#isHeld = isHeld;
		this.#deps.integrations.hold(isHeld);
	}

	/** Anyone may add to the kernel's pool; it is credited with nothing, so a bad seed does no harm. */
	#stir(seed: string): void {
		try {
			const pool = openSync('/dev/urandom', 'w');
			writeSync(pool, Buffer.from(seed.slice(0, MAX_SEED_CHARS), 'base64url'));
			closeSync(pool);
		} catch (error) {
			this.#deps.log('debug', 'kernel pool not stirred', { why: (error as Error).message });
		}
	}
}
