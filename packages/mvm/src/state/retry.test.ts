import { MvmError } from '@mvm/protocol';
import { expect, test } from 'vitest';
import { asStoreError, failureCode, isConnectionLost, type Phase, retryDelayMs } from './retry.ts';

const failure = (code: string): Error =>
	Object.assign(new Error(code), code.length === 5 ? { code } : { code, syscall: 'connect' });
const delay = (code: string, at: Partial<Parameters<typeof retryDelayMs>[1]> = {}) =>
	retryDelayMs(failure(code), { phase: 'running', attempt: 1, idempotent: false, random: 0.5, ...at });

test.each<[string, Phase, boolean, boolean]>([
	['40001', 'running', false, true],
	['40001', 'committing', false, true], // the server says that it was undone
	['57P01', 'connecting', false, true],
	['57P01', 'running', false, true],
	['57P01', 'committing', false, false], // nobody knows
	['57P01', 'committing', true, true],
	['53300', 'connecting', false, true],
	['ENOENT', 'connecting', false, true],
	['23505', 'running', true, false],
	['53100', 'running', true, false],
	['57014', 'running', true, false],
])('%s while %s, idempotent %s: tried again %s', (code, phase, idempotent, again) => {
	expect(delay(code, { phase, idempotent }) !== undefined).toBe(again);
});

test('every retry is bounded, its delays grow to the maximum, and an away server is waited for 4 to 10 s', () => {
	for (const code of ['40001', '57P01', '53300']) {
		const delays: number[] = [];
		for (let attempt = 1; ; attempt += 1) {
			const ms = delay(code, { attempt, random: 1 });
			if (ms === undefined) break;
			expect(ms).toBeLessThanOrEqual(1_000);
			delays.push(ms);
			expect(attempt).toBeLessThan(50);
		}
		expect(delays).toEqual([...delays].sort((a, b) => a - b));
		if (code === '57P01') {
			const total = delays.reduce((a, b) => a + b, 0);
			expect(total).toBeGreaterThan(4_000);
			expect(total).toBeLessThan(10_000);
		}
	}
});

test('store failures get one clear code; everything else is passed on untouched', () => {
	expect(asStoreError(failure('53100'), 'running')).toMatchObject({ code: 'DISK_FULL' });
	expect(asStoreError(failure('ECONNREFUSED'), 'connecting')).toMatchObject({
		code: 'STORE_UNAVAILABLE',
		details: { outcome: 'unchanged' },
	});
	expect(asStoreError(failure('57P01'), 'committing')).toMatchObject({
		code: 'STORE_UNAVAILABLE',
		details: { outcome: 'unknown' },
	});
	expect(asStoreError(new Error('Connection terminated unexpectedly'), 'running')).toMatchObject({ code: 'STORE_UNAVAILABLE' });
	expect(asStoreError(failure('57014'), 'running')).toMatchObject({
		code: 'STORE_UNAVAILABLE',
		message: expect.stringContaining('in time'),
	});
	expect(asStoreError(failure('58030'), 'running')).toMatchObject({ code: 'STORE_UNAVAILABLE' });
	const ours = new MvmError('CONFLICT', 'x');
	const unique = failure('23505');
	expect([asStoreError(ours, 'running'), asStoreError(unique, 'running')]).toEqual([ours, unique]);
	const ownFile = Object.assign(new Error('no such file'), { code: 'ENOENT', syscall: 'open' });
	expect(asStoreError(ownFile, 'running')).toBe(ownFile);
	expect(delay('EPIPE')).toBeGreaterThan(0);
	expect([failureCode(ours), failureCode('text'), isConnectionLost(unique)]).toEqual([undefined, undefined, false]);
});
