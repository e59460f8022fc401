// Holds SPEC.md: every cell of the table, the algebra of the events, and random lives.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
	advance,
	allot,
	INSTANCE_EVENTS,
	INSTANCE_STATES,
	type InstanceEvent,
	type InstanceEventKind,
	type InstanceLife,
	type InstanceState,
	NEW_LIFE,
	transition,
} from './instance-state.ts';

/** The truth table, written down a second time and by hand: `-` is a refusal. */
const EXPECTED: Record<InstanceState, string> = {
	//         image_resolved rebuilt booted frozen thawed slept woken stopped died destroyed
	created: 'ready - - - - - - - - destroyed',
	ready: 'ready ready running - - - - - - destroyed',
	running: '- - - warm running - - stopped stopped destroyed',
	warm: '- - - warm running sleeping - stopped stopped destroyed',
	sleeping: '- - running - - sleeping running stopped sleeping destroyed',
	stopped: '- - running - - - - stopped stopped destroyed',
	destroyed: '- - - - - - - - - destroyed',
};
const cells = INSTANCE_STATES.flatMap((state) =>
	INSTANCE_EVENTS.map((event, at) => [state, event, EXPECTED[state].split(' ')[at] ?? '?'] as const),
);

test.each(cells)('%s + %s → %s', (state, event, expected) => {
	const result = transition(state, event);
	if (expected === '-') {
		expect(result).toMatchObject({ ok: false, reason: expect.stringMatching(`^${event} is illegal in ${state}: .{5,}`) });
	} else expect(result).toEqual({ ok: true, next: expected, changed: expected !== state });
});

describe('what upstream and the design forbid', () => {
	const reach = (from: InstanceState): Set<string> =>
		new Set(INSTANCE_EVENTS.map((e) => transition(from, e)).flatMap((r) => (r.ok ? [r.next] : [])));
	test.each([
		['running', 'sleeping'],
		['stopped', 'warm'],
		['stopped', 'sleeping'],
		['created', 'running'],
		['created', 'stopped'],
		['ready', 'warm'],
	] as const)('%s never becomes %s in one step', (from, to) => expect(reach(from).has(to)).toBe(false));
	test('destroyed is left by nothing and reached from everywhere', () => {
		expect([...reach('destroyed')]).toEqual(['destroyed']);
		for (const state of INSTANCE_STATES) expect(reach(state).has('destroyed')).toBe(true);
	});
});

const withData = (kind: InstanceEventKind, incarnation: number, hibernated: boolean): InstanceEvent => {
	if (kind === 'booted' || kind === 'thawed' || kind === 'woken') return { kind, incarnation };
	return kind === 'slept' ? { kind, hibernated } : { kind };
};
const walk = (life: InstanceLife, ...events: InstanceEvent[]): InstanceLife =>
	events.reduce((now, event) => {
		const step = advance(now, event);
		if (!step.ok) throw new Error(step.reason);
		return step.next;
	}, life);
const running = walk(NEW_LIFE, { kind: 'image_resolved' }, { kind: 'booted', incarnation: 1 });

describe('laws', () => {
	test('freeze then thaw is the same life one incarnation later', () => {
		expect(walk(running, { kind: 'frozen' }, { kind: 'thawed', incarnation: 2 })).toEqual({ ...running, incarnation: 2 });
	});
	test('sleep then wake is the same life one incarnation later, from memory and cold', () => {
		const frozen = walk(running, { kind: 'frozen' });
		const warmWay = walk(frozen, { kind: 'slept', hibernated: true }, { kind: 'woken', incarnation: 2 });
		const coldWay = walk(frozen, { kind: 'slept', hibernated: false }, { kind: 'booted', incarnation: 2 });
		expect(warmWay).toEqual({ ...running, incarnation: 2 });
		expect(coldWay).toEqual(warmWay);
	});
	test('an event that changes nothing returns the same reference', () => {
		const stopped = walk(running, { kind: 'stopped' });
		for (const kind of ['stopped', 'died'] as const)
			expect(advance(stopped, { kind })).toMatchObject({ ok: true, changed: false, next: stopped });
		const repeated = advance(stopped, { kind: 'stopped' });
		expect(repeated.ok && repeated.next).toBe(stopped);
	});
	test('a hibernated tree is woken or lost before another boots', () => {
		const asleep = walk(running, { kind: 'frozen' }, { kind: 'slept', hibernated: true });
		expect(advance(asleep, { kind: 'booted', incarnation: 2 }).ok).toBe(false);
		expect(walk(asleep, { kind: 'died' }, { kind: 'booted', incarnation: 2 }).state).toBe('running');
	});
	test('memory that was given up is not woken and not kept later', () => {
		const cold = walk(running, { kind: 'frozen' }, { kind: 'slept', hibernated: false });
		expect(advance(cold, { kind: 'woken', incarnation: 2 }).ok).toBe(false);
		expect(advance(cold, { kind: 'slept', hibernated: true }).ok).toBe(false);
	});
	test.each([0, 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('incarnation %d is refused when 2 is allotted', (incarnation) => {
		const claimed = allot(walk(running, { kind: 'stopped' }));
		expect(advance(claimed, { kind: 'booted', incarnation }).ok).toBe(false);
		expect(walk(claimed, { kind: 'booted', incarnation: 2 })).toEqual({ ...running, incarnation: 2 });
	});
});

test('random lives keep the invariants', () => {
	const event = fc.record({
		kind: fc.constantFrom(...INSTANCE_EVENTS),
		rise: fc.integer({ min: -1, max: 2 }),
		hibernated: fc.boolean(),
	});
	fc.assert(
		fc.property(fc.array(event, { maxLength: 60 }), (events) => {
			let life = NEW_LIFE;
			let alive = false; // a tree exists or is kept
			for (const { kind, rise, hibernated } of events) {
				const before = life;
				const step = advance(life, withData(kind, life.incarnation + rise, hibernated));
				if (!step.ok) continue;
				life = step.next;
				expect(INSTANCE_STATES).toContain(life.state);
				expect(life.incarnation).toBeGreaterThanOrEqual(before.incarnation);
				expect(step.changed).toBe(life !== before);
				if (before.state === 'destroyed') expect(life).toBe(before);
				if (life.hibernated) expect(life.state).toBe('sleeping');
				if (kind === 'booted') expect(alive).toBe(false);
				alive = life.state === 'running' || life.state === 'warm' || life.hibernated;
			}
		}),
		{ numRuns: 500 },
	);
});
