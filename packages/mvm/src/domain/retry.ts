// How long to wait before trying again, and when to stop: pure back-off, the tables that use it, and crash-loop detection.
// Callers keep the counts; the random number is given.

export interface BackOff {
	/** Wait after the first failure. */
	readonly baseMs: number;
	/** Each further failure multiplies by this. */
	readonly factor: number;
	readonly maxMs: number;
	/** Share of the wait that is random, 0 to 1: 0.2 gives 80-100 % of it, so that many retries do not march in step. */
	readonly jitter: number;
	/** Attempts in all; undefined: for ever (the bound is elsewhere). */
	readonly maxAttempts: number | undefined;
}

/** Delivery of a retained message: 1 s doubling to 5 minutes, 20 attempts (about an hour), then dead letter. */
export const DELIVERY_RETRY: BackOff = { baseMs: 1000, factor: 2, maxMs: 300_000, jitter: 0.2, maxAttempts: 20 };
/** A start or wake that failed: 1 s doubling to 5 minutes, as long as somebody wants the instance. */
export const START_RETRY: BackOff = { baseMs: 1000, factor: 2, maxMs: 300_000, jitter: 0.2, maxAttempts: undefined };
/** A critical integration whose checkpoint failed: the next sleep is tried after 30 s, doubling to 15 minutes. */
export const CHECKPOINT_RETRY: BackOff = { baseMs: 30_000, factor: 2, maxMs: 900_000, jitter: 0.2, maxAttempts: undefined };

/** The wait after failure number `failures` (1 is the first); `random` in [0, 1). 0 before any failure. */
export function backOffMs(policy: BackOff, failures: number, random: number): number {
	if (!(failures >= 1)) return 0;
	const full = Math.min(policy.maxMs, policy.baseMs * policy.factor ** (Math.min(failures, 1000) - 1));
	return Math.round(full * (1 - policy.jitter * Math.min(1, Math.max(0, random))));
}

export type Retry =
	| { readonly kind: 'retry'; readonly delayMs: number }
	/** No attempt is left. */
	| { readonly kind: 'give_up'; readonly attempts: number };

/** What to do after `attempts` attempts that all failed. */
export function decideRetry(policy: BackOff, attempts: number, random: number): Retry {
	if (policy.maxAttempts !== undefined && attempts >= policy.maxAttempts) return { kind: 'give_up', attempts };
	return { kind: 'retry', delayMs: backOffMs(policy, attempts, random) };
}

export interface CrashLoopRule {
	/** This many exits … */
	readonly exits: number;
	/** … within this span are a loop. */
	readonly windowMs: number;
}
export const CRASH_LOOP: CrashLoopRule = { exits: 5, windowMs: 300_000 };

/** True when the newest exits come that close together. Stamps from after `nowMs` (a clock that went back) count as now. */
export function isCrashLoop(rule: CrashLoopRule, exitsAtMs: readonly number[], nowMs: number): boolean {
	return exitsAtMs.filter((at) => nowMs - Math.min(at, nowMs) < rule.windowMs).length >= rule.exits;
}
