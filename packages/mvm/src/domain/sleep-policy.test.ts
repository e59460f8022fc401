// Thresholds from the start of idleness, minimums, floors, pins, the periodic checkpoint, and memory pressure.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { INHIBITORS, type Inhibitor } from './inhibitors.ts';
import { decideSleep, elapsedMs, type PressureCandidate, pressureOrder, type SleepInput } from './sleep-policy.ts';

const NOW = 100_000_000;
const ago = (secs: number): number => NOW - secs * 1000;
const base: SleepInput = {
	nowMs: NOW,
	state: 'running',
	idleSinceMs: ago(0),
	enteredRunningAtMs: ago(10_000),
	enteredWarmAtMs: undefined,
	runtimePolicy: { minRunningSeconds: 60, minWarmSeconds: 30 },
	sleepPolicy: { warmThresholdSecs: 300, sleepThresholdSecs: 900 },
	inhibitors: new Set(),
	pinned: false,
	critical: false,
	counts: { running: 1, warm: 0 },
	floors: { running: 0, warm: 0 },
	canWarm: true,
	takenSinceCheckpoint: 0,
	lastCheckpointAtMs: undefined,
};
const decide = (more: Partial<SleepInput>) => decideSleep({ ...base, ...more });
const frozen = { state: 'warm', counts: { running: 0, warm: 1 }, enteredWarmAtMs: ago(600) } as const;
const taken = (action: string) => ({ action, deferredBy: [], nextCheckAtMs: undefined });

describe('running', () => {
	test('nothing before the warm threshold, and it says when', () => {
		expect(decide({ idleSinceMs: ago(299) })).toEqual({ action: 'none', deferredBy: [], nextCheckAtMs: NOW + 1000 });
	});
	test('warm at its threshold, sleep at its own', () => {
		expect(decide({ idleSinceMs: ago(300) })).toEqual(taken('warm'));
		expect(decide({ idleSinceMs: ago(899) })).toEqual(taken('warm'));
		expect(decide({ idleSinceMs: ago(900) })).toEqual(taken('sleep'));
	});
	test('where the driver cannot freeze, warm is passed over', () => {
		expect(decide({ idleSinceMs: ago(600), canWarm: false })).toEqual({
			action: 'none',
			deferredBy: [],
			nextCheckAtMs: NOW + 300_000,
		});
		expect(decide({ idleSinceMs: ago(900), canWarm: false })).toEqual(taken('sleep'));
	});
	test('the minimum runtime counts from the entry into running', () => {
		expect(decide({ idleSinceMs: ago(900), enteredRunningAtMs: ago(50) })).toEqual({
			action: 'none',
			deferredBy: ['minimum_runtime'],
			nextCheckAtMs: NOW + 10_000,
		});
	});
	test('missing stamps count as eligible', () => {
		expect(decide({ idleSinceMs: undefined, enteredRunningAtMs: undefined })).toEqual(taken('sleep'));
		expect(decide({ idleSinceMs: undefined, enteredRunningAtMs: ago(400) })).toEqual(taken('warm'));
	});
	test('a clock that went back counts as no time', () => {
		expect(elapsedMs(NOW + 5000, NOW)).toBe(0);
		expect(decide({ idleSinceMs: NOW + 1e9 })).toEqual({ action: 'none', deferredBy: [], nextCheckAtMs: NOW + 300_000 });
	});
	test.each(Object.keys(INHIBITORS) as Inhibitor[])('%s defers what is due', (name) => {
		expect(decide({ idleSinceMs: ago(5000), inhibitors: new Set([name]) })).toMatchObject({ action: 'none', deferredBy: [name] });
	});
	test('pinned and critical pools never sleep', () => {
		expect(decide({ idleSinceMs: ago(1e5), pinned: true })).toMatchObject({ action: 'none', deferredBy: ['pool_pinned'] });
		expect(decide({ idleSinceMs: ago(1e5), critical: true })).toMatchObject({ action: 'none', deferredBy: ['pool_critical'] });
	});
	test('the running floor is kept; above it one goes', () => {
		const floors = { running: 2, warm: 0 };
		expect(decide({ idleSinceMs: ago(900), floors, counts: { running: 2, warm: 0 } })).toMatchObject({
			deferredBy: ['floor_running'],
		});
		expect(decide({ idleSinceMs: ago(900), floors, counts: { running: 3, warm: 0 } })).toEqual(taken('sleep'));
	});
	test('a pool short of its warm floor keeps it frozen', () => {
		const floors = { running: 0, warm: 1 };
		expect(decide({ idleSinceMs: ago(5000), floors })).toEqual(taken('warm'));
		expect(decide({ idleSinceMs: ago(5000), floors, counts: { running: 1, warm: 1 } })).toEqual(taken('sleep'));
	});
	test('the order of the thresholds does not matter', () => {
		const sleepPolicy = { warmThresholdSecs: 900, sleepThresholdSecs: 10 };
		expect(decide({ idleSinceMs: ago(10), sleepPolicy })).toEqual(taken('sleep'));
		expect(decide({ idleSinceMs: ago(9), sleepPolicy })).toMatchObject({ action: 'none', nextCheckAtMs: NOW + 1000 });
	});
});

describe('warm', () => {
	test('sleeps at the sleep threshold when its minimum is met', () => {
		expect(decide({ ...frozen, idleSinceMs: ago(899) })).toMatchObject({ action: 'none', nextCheckAtMs: NOW + 1000 });
		expect(decide({ ...frozen, idleSinceMs: ago(900) })).toEqual(taken('sleep'));
		expect(decide({ ...frozen, idleSinceMs: ago(900), enteredWarmAtMs: ago(20) })).toEqual({
			action: 'none',
			deferredBy: ['minimum_warm'],
			nextCheckAtMs: NOW + 10_000,
		});
	});
	test('the warm floor is kept', () => {
		const floors = { running: 0, warm: 1 };
		expect(decide({ ...frozen, idleSinceMs: ago(9000), floors })).toMatchObject({ deferredBy: ['floor_warm'] });
	});
	test('minimum runtime says nothing about a warm instance', () => {
		expect(decide({ ...frozen, idleSinceMs: ago(900), enteredRunningAtMs: ago(1) })).toEqual(taken('sleep'));
	});
});

describe('the periodic checkpoint', () => {
	const awake = { pinned: true, idleSinceMs: ago(700), takenSinceCheckpoint: 1 };
	test('every 10 minutes, if it took messages since', () => {
		expect(decide({ ...awake, lastCheckpointAtMs: ago(600) })).toEqual(taken('checkpoint'));
		expect(decide({ ...awake, lastCheckpointAtMs: ago(599) })).toMatchObject({ action: 'none', nextCheckAtMs: NOW + 1000 });
		expect(decide({ ...awake, lastCheckpointAtMs: ago(6000), takenSinceCheckpoint: 0 })).toMatchObject({ action: 'none' });
	});
	test('not while it is busy, yet for one that is pinned by hand', () => {
		const lastCheckpointAtMs = ago(6000);
		expect(decide({ ...awake, lastCheckpointAtMs, inhibitors: new Set(['running_turn']) })).toMatchObject({ action: 'none' });
		expect(decide({ ...awake, lastCheckpointAtMs, pinned: false, inhibitors: new Set(['manual_pin']) })).toEqual(
			taken('checkpoint'),
		);
	});
	test('one that may sleep just sleeps', () => {
		expect(decide({ ...awake, pinned: false, idleSinceMs: ago(900), lastCheckpointAtMs: ago(6000) })).toEqual(taken('sleep'));
	});
});

describe('memory pressure', () => {
	const one = (id: string, idleSecs: number, more: Partial<PressureCandidate> = {}): PressureCandidate => ({
		id,
		pool: 'p',
		state: 'running',
		idleSinceMs: ago(idleSecs),
		inhibitors: new Set(),
		pinned: false,
		critical: false,
		...more,
	});
	const order = (list: PressureCandidate[], floor = 0): string[] =>
		pressureOrder(list, new Map([['p', floor]]), NOW).map((c) => c.id);
	test('longest idle first; warm before running; then by name', () => {
		expect(order([one('c', 5), one('b', 5), one('a', 5, { state: 'warm' }), one('d', 9)])).toEqual(['d', 'a', 'b', 'c']);
	});
	test('held, pinned and critical ones never; a minimum does not save', () => {
		expect(
			order([
				one('turn', 9, { inhibitors: new Set(['running_turn']) }),
				one('young', 8, { inhibitors: new Set(['minimum_runtime']) }),
				one('pinned', 7, { pinned: true }),
				one('critical', 6, { critical: true }),
			]),
		).toEqual(['young']);
	});
	test('floors are kept', () => {
		expect(order([one('a', 3), one('b', 2), one('c', 1)], 2)).toEqual(['a']);
		expect(order([one('a', 3)], 2)).toEqual([]);
	});
});

test('asking again at the time it named always moves on, and never loops', () => {
	const time = fc.option(fc.integer({ min: 0, max: 20_000 }), { nil: undefined });
	const world = fc.record({
		state: fc.constantFrom('running', 'warm'),
		idle: time,
		running: time,
		warm: time,
		minimum: fc.nat(100),
		thresholds: fc.tuple(fc.nat(2000), fc.nat(2000)),
		canWarm: fc.boolean(),
		messages: fc.nat(2),
		held: fc.subarray(Object.keys(INHIBITORS) as Inhibitor[]),
	});
	fc.assert(
		fc.property(world, (w) => {
			let input: SleepInput = {
				...base,
				state: w.state as 'running' | 'warm',
				counts: { running: 1, warm: 1 },
				idleSinceMs: w.idle === undefined ? undefined : ago(w.idle),
				enteredRunningAtMs: w.running === undefined ? undefined : ago(w.running),
				enteredWarmAtMs: w.warm === undefined ? undefined : ago(w.warm),
				runtimePolicy: { minRunningSeconds: w.minimum, minWarmSeconds: w.minimum },
				sleepPolicy: { warmThresholdSecs: w.thresholds[0], sleepThresholdSecs: w.thresholds[1] },
				inhibitors: new Set(w.held),
				canWarm: w.canWarm,
				takenSinceCheckpoint: w.messages,
			};
			for (let asked = 0; asked < 6; asked += 1) {
				const decision = decideSleep(input);
				if (w.held.length > 0 && decision.action !== 'checkpoint') expect(decision.action).toBe('none');
				if (decision.action !== 'none') {
					expect(decision.deferredBy).toEqual([]);
					return;
				}
				if (decision.nextCheckAtMs === undefined) {
					expect(decision.deferredBy.length).toBeGreaterThan(0);
					return;
				}
				expect(decision.nextCheckAtMs).toBeGreaterThan(input.nowMs);
				input = { ...input, nowMs: decision.nextCheckAtMs };
			}
			throw new Error('asked six times without an answer');
		}),
		{ numRuns: 1000 },
	);
});
