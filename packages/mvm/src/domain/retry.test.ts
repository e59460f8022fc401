// Back-off grows, is bounded, never negative; retries end; crash loops are seen.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backOffMs, CHECKPOINT_RETRY, CRASH_LOOP, DELIVERY_RETRY, decideRetry, isCrashLoop, START_RETRY } from './retry.ts';

test('delivery: 1 s doubling to 5 minutes, dead letter after 20 attempts', () => {
	const waits = Array.from({ length: 20 }, (_, at) => decideRetry(DELIVERY_RETRY, at + 1, 0));
	expect(waits.slice(0, 4)).toEqual([1000, 2000, 4000, 8000].map((delayMs) => ({ kind: 'retry', delayMs })));
	expect(waits[10]).toEqual({ kind: 'retry', delayMs: 300_000 });
	expect(waits[19]).toEqual({ kind: 'give_up', attempts: 20 });
});
test('starts and checkpoints are tried as long as somebody wants them', () => {
	expect(decideRetry(START_RETRY, 1e9, 0)).toEqual({ kind: 'retry', delayMs: 300_000 });
	expect(decideRetry(CHECKPOINT_RETRY, 1, 0)).toEqual({ kind: 'retry', delayMs: 30_000 });
});
test('no failure, no wait', () => {
	expect(backOffMs(START_RETRY, 0, 0.5)).toBe(0);
	expect(backOffMs(START_RETRY, Number.NaN, 0.5)).toBe(0);
});
test('waits are finite, within the jitter band, and never shrink with more failures', () => {
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (n, random) => {
			const wait = backOffMs(START_RETRY, n, random);
			const full = backOffMs(START_RETRY, n, 0);
			expect(wait).toBeLessThanOrEqual(full);
			expect(wait).toBeGreaterThanOrEqual(Math.floor(full * 0.8));
			expect(backOffMs(START_RETRY, n + 1, random)).toBeGreaterThanOrEqual(wait);
			expect(full).toBeLessThanOrEqual(START_RETRY.maxMs);
		}),
	);
});
test('five exits in five minutes are a loop, spread out they are not', () => {
	const now = 10_000_000;
	const every = (ms: number): number[] => [0, 1, 2, 3, 4].map((n) => now - n * ms);
	expect(isCrashLoop(CRASH_LOOP, every(1000), now)).toBe(true);
	expect(isCrashLoop(CRASH_LOOP, every(75_000), now)).toBe(false);
	expect(isCrashLoop(CRASH_LOOP, every(1000).slice(1), now)).toBe(false);
	expect(isCrashLoop(CRASH_LOOP, every(-1000), now)).toBe(true);
});
