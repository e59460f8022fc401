// When an instance is frozen, put to sleep or checkpointed, and why not yet. Called by lifecycle's idle loop, one instance at a
// time, and by the planner. Nothing here looks at packets or CPU: idle is what the inhibitors say.
import type { DesiredCounts, RuntimePolicy, SleepPolicy } from '@mvm/protocol';
import type { Inhibitor } from './inhibitors.ts';

/** Instances of the pool that are awake and frozen: now, or at least to be kept so. */
export type AwakeCounts = Pick<DesiredCounts, 'running' | 'warm'>;

/** How often an instance that is awake and idle but never sleeps is checkpointed, if it took messages since. */
export const AWAKE_CHECKPOINT_EVERY_MS = 600_000;

export interface SleepInput {
	readonly nowMs: number;
	readonly state: 'running' | 'warm';
	/** When the last thing ended that kept it busy; undefined counts from its entry into running. */
	readonly idleSinceMs: number | undefined;
	/** Undefined where the stamp is missing: the minimum then counts as met. */
	readonly enteredRunningAtMs: number | undefined;
	readonly enteredWarmAtMs: number | undefined;
	/** Minimums; 0 disables one. */
	readonly runtimePolicy: Pick<RuntimePolicy, 'minRunningSeconds' | 'minWarmSeconds'>;
	/** Both thresholds count from the start of idleness. */
	readonly sleepPolicy: Pick<SleepPolicy, 'warmThresholdSecs' | 'sleepThresholdSecs'>;
	/** What keeps it awake now; the minimums are judged here. */
	readonly inhibitors: ReadonlySet<Inhibitor>;
	/** The pool is pinned or critical: policy never freezes its instances nor puts them to sleep. */
	readonly pinned: boolean;
	readonly critical: boolean;
	/** The pool's instances now, this one included, and the floors of its desired counts. */
	readonly counts: AwakeCounts;
	readonly floors: AwakeCounts;
	/** False where the driver cannot freeze: warm is passed over. */
	readonly canWarm: boolean;
	/** Messages that it took since its last checkpoint, and when that was; undefined counts from its entry into running. */
	readonly takenSinceCheckpoint: number;
	readonly lastCheckpointAtMs: number | undefined;
}

/** Why a due action is not taken: an inhibitor, or one of these. */
export type Deferral = Inhibitor | 'minimum_warm' | 'floor_running' | 'floor_warm' | 'pool_pinned' | 'pool_critical';

export interface SleepDecision {
	readonly action: 'none' | 'warm' | 'sleep' | 'checkpoint';
	/** What stands against an action whose time has come; empty when one is taken and when none is due. */
	readonly deferredBy: readonly Deferral[];
	/** When time alone may change the answer; undefined where only an event can. */
	readonly nextCheckAtMs: number | undefined;
}

/** Milliseconds from `sinceMs` to `nowMs`: 0 when the clock went back, everything when there is no stamp. */
export function elapsedMs(sinceMs: number | undefined, nowMs: number): number {
	return sinceMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, nowMs - sinceMs);
}

/** When a span that began at `sinceMs` is over; `nowMs` when it already is. */
const endsAtMs = (sinceMs: number | undefined, spanSecs: number, nowMs: number): number =>
	nowMs + Math.max(0, spanSecs * 1000 - elapsedMs(sinceMs, nowMs));

const take = (action: SleepDecision['action']): SleepDecision => ({ action, deferredBy: [], nextCheckAtMs: undefined });
const soonest = (nowMs: number, ...times: readonly (number | undefined)[]): number | undefined => {
	const later = times.filter((t): t is number => t !== undefined && Number.isFinite(t) && t > nowMs);
	return later.length === 0 ? undefined : Math.min(...later);
};

/** Decides for one instance. */
export function decideSleep(input: SleepInput): SleepDecision {
	return input.state === 'warm' ? decideWarm(input) : decideRunning(input);
}

/** What stands against freezing or sleeping whatever the state. */
function standing(input: SleepInput): Deferral[] {
	const found: Deferral[] = [...input.inhibitors];
	if (input.pinned) found.push('pool_pinned');
	if (input.critical) found.push('pool_critical');
	return found;
}

function decideWarm(input: SleepInput): SleepDecision {
	const { nowMs } = input;
	const sleepAt = endsAtMs(input.idleSinceMs ?? input.enteredRunningAtMs, input.sleepPolicy.sleepThresholdSecs, nowMs);
	const minimumAt = endsAtMs(input.enteredWarmAtMs, input.runtimePolicy.minWarmSeconds, nowMs);
	const against = standing(input);
	if (minimumAt > nowMs) against.push('minimum_warm');
	if (input.counts.warm <= input.floors.warm) against.push('floor_warm');
	if (sleepAt > nowMs) return { action: 'none', deferredBy: [], nextCheckAtMs: Math.max(sleepAt, minimumAt) };
	return against.length === 0 ? take('sleep') : { action: 'none', deferredBy: against, nextCheckAtMs: soonest(nowMs, minimumAt) };
}

function decideRunning(input: SleepInput): SleepDecision {
	const { nowMs } = input;
	const idleSince = input.idleSinceMs ?? input.enteredRunningAtMs;
	const sleepAt = endsAtMs(idleSince, input.sleepPolicy.sleepThresholdSecs, nowMs);
	const warmAt = input.canWarm ? endsAtMs(idleSince, input.sleepPolicy.warmThresholdSecs, nowMs) : Number.POSITIVE_INFINITY;
	const minimumAt = endsAtMs(input.enteredRunningAtMs, input.runtimePolicy.minRunningSeconds, nowMs);
	const against = standing(input);
	if (minimumAt > nowMs) against.push('minimum_runtime');
	if (input.counts.running <= input.floors.running) against.push('floor_running');
	// A pool short of its warm floor keeps this one frozen for it instead of putting it to sleep.
	const keptWarm = input.canWarm && input.counts.warm < input.floors.warm;
	const due = sleepAt <= nowMs && !keptWarm ? 'sleep' : warmAt <= nowMs || (keptWarm && sleepAt <= nowMs) ? 'warm' : 'none';
	if (due !== 'none' && against.length === 0) return take(due);

	// Inhibitors are activity, but for these: an instance that stays awake for them still saves what it was told.
	const busy = [...input.inhibitors].some((name) => name !== 'manual_pin' && name !== 'minimum_runtime');
	const owed = input.takenSinceCheckpoint > 0 && !busy;
	const checkpointAt = owed
		? endsAtMs(input.lastCheckpointAtMs ?? input.enteredRunningAtMs, AWAKE_CHECKPOINT_EVERY_MS / 1000, nowMs)
		: undefined;
	if (checkpointAt !== undefined && checkpointAt <= nowMs) return take('checkpoint');
	if (due !== 'none') return { action: 'none', deferredBy: against, nextCheckAtMs: soonest(nowMs, minimumAt, checkpointAt) };
	const dueAt = Math.max(Math.min(warmAt, sleepAt), minimumAt);
	return { action: 'none', deferredBy: [], nextCheckAtMs: soonest(nowMs, dueAt, checkpointAt) };
}

export interface PressureCandidate {
	readonly id: string;
	readonly pool: string;
	readonly state: 'running' | 'warm';
	readonly idleSinceMs: number | undefined;
	readonly inhibitors: ReadonlySet<Inhibitor>;
	readonly pinned: boolean;
	readonly critical: boolean;
}

/**
 * Who is put to sleep, in order, when the host is short of memory: the longest idle first, thresholds and minimums aside.
 * Held, pinned and critical ones never; `floors` (per pool, running and warm together) are kept.
 */
export function pressureOrder<Candidate extends PressureCandidate>(
	candidates: readonly Candidate[],
	floors: ReadonlyMap<string, number>,
	nowMs: number,
): readonly Candidate[] {
	const spare = new Map<string, number>();
	for (const { pool } of candidates) spare.set(pool, (spare.get(pool) ?? -(floors.get(pool) ?? 0)) + 1);
	const holds = (candidate: PressureCandidate): boolean => [...candidate.inhibitors].some((name) => name !== 'minimum_runtime');
	return candidates
		.filter((c) => !c.pinned && !c.critical && !holds(c))
		.toSorted(
			(a, b) =>
				compare(elapsedMs(b.idleSinceMs, nowMs), elapsedMs(a.idleSinceMs, nowMs)) ||
				compare(a.state === 'warm' ? 0 : 1, b.state === 'warm' ? 0 : 1) ||
				compare(a.id, b.id),
		)
		.filter(({ pool }) => {
			const left = spare.get(pool) ?? 0;
			spare.set(pool, left - 1);
			return left > 0;
		});
}

const compare = <T extends number | string>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);
