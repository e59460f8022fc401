// The journal's order, points of no return, and who joins whom.
import { describe, expect, test } from 'vitest';
import {
	hasReached,
	isPastNoReturn,
	joinable,
	mayBegin,
	OPERATION_KINDS,
	OPERATION_STEPS,
	type OperationStep,
	POINT_OF_NO_RETURN,
	stepIndex,
} from './operation.ts';

describe.each(OPERATION_KINDS)('%s', (kind) => {
	const steps: readonly OperationStep[] = OPERATION_STEPS[kind];
	test('starts with claim, ends with release, names each step once', () => {
		expect(steps[0]).toBe('claim');
		expect(steps.at(-1)).toBe('release');
		expect(new Set(steps).size).toBe(steps.length);
	});
	test('steps go forward only', () => {
		for (const from of steps)
			for (const to of steps) expect(mayBegin(kind, from, to)).toBe(steps.indexOf(to) > steps.indexOf(from));
		expect(mayBegin(kind, 'claim', 'no such step')).toBe(false);
	});
	test('the point of no return cuts the steps in two', () => {
		const mark = steps.indexOf(POINT_OF_NO_RETURN[kind]);
		expect(steps.map((s) => isPastNoReturn(kind, s))).toEqual(steps.map((_, at) => at >= mark));
	});
});

test('a step of another version counts as not begun', () => {
	expect(stepIndex('sleep', 'levitate')).toBe(-1);
	expect(hasReached('sleep', 'levitate', 'claim')).toBe(false);
	expect(isPastNoReturn('sleep', 'levitate')).toBe(false);
});

describe('who joins whom', () => {
	test.each([
		['wake', 'wake', 'boot', 'join'],
		['wake', 'start', 'claim', 'join'],
		['start', 'wake', 'thaw', 'join'],
		['wake', 'sleep', 'fence', 'abort_then_run'],
		['wake', 'sleep', 'write_manifest', 'abort_then_run'],
		['wake', 'sleep', 'snapshot', 'wait_then_run'],
		['wake', 'warm', 'freeze', 'wait_then_run'],
		['wake', 'checkpoint', 'fence', 'abort_then_run'],
		['wake', 'checkpoint', 'write_manifest', 'wait_then_run'],
		['wake', 'create', 'prepare', 'wait_then_run'],
		['wake', 'destroy', 'claim', 'refuse'],
		['sleep', 'sleep', 'freeze', 'join'],
		['sleep', 'wake', 'claim', 'wait_then_run'],
		['stop', 'wake', 'boot', 'wait_then_run'],
		['stop', 'sleep', 'drain', 'abort_then_run'],
		['destroy', 'sleep', 'snapshot', 'wait_then_run'],
		['destroy', 'sleep', 'fence', 'abort_then_run'],
		['destroy', 'wake', 'link', 'wait_then_run'],
		['destroy', 'destroy', 'erase', 'join'],
		['create', 'create', 'prepare', 'join'],
	] as const)('%s during %s at %s: %s', (requested, kind, step, expected) => {
		expect(joinable(requested, { kind, pastNoReturn: isPastNoReturn(kind, step) })).toBe(expected);
	});
	test('every pair has an answer, a kind joins itself, destroy is refused by nothing and refuses all others', () => {
		for (const requested of OPERATION_KINDS) {
			expect(joinable(requested, { kind: requested, pastNoReturn: false })).toBe('join');
			for (const kind of OPERATION_KINDS) {
				for (const step of OPERATION_STEPS[kind]) {
					const answer = joinable(requested, { kind, pastNoReturn: isPastNoReturn(kind, step) });
					if (requested === 'destroy') expect(answer).not.toBe('refuse');
					if (kind === 'destroy' && requested !== 'destroy') expect(answer).toBe('refuse');
					if (answer === 'abort_then_run') expect(isPastNoReturn(kind, step)).toBe(false);
				}
			}
		}
	});
});
