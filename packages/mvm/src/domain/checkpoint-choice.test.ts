// The newest usable checkpoint, the fallback, and where none is allowed.
import { describe, expect, test } from 'vitest';
import { type CheckpointCandidate, chooseCheckpoint, compareVersions } from './checkpoint-choice.ts';

const at = (id: string, frozenAtMs: number, more: Partial<CheckpointCandidate> = {}): CheckpointCandidate => ({
	id,
	state: 'good',
	badReason: undefined,
	schemaVersions: { openclaw: '2026.9.6' },
	frozenAtMs,
	...more,
});
const runtime = { openclaw: '2026.9.6' };

test('the newest good one', () => {
	expect(chooseCheckpoint([at('old', 1), at('new', 2)], runtime, { mayFallBack: false })).toEqual({
		action: 'use',
		id: 'new',
		isFallback: false,
		skipped: [],
	});
});
test('a bad one is passed over by name', () => {
	const list = [at('old', 1), at('new', 2, { state: 'bad', badReason: 'blob 12 does not match' })];
	expect(chooseCheckpoint(list, runtime, { mayFallBack: true })).toEqual({
		action: 'use',
		id: 'old',
		isFallback: true,
		skipped: [{ id: 'new', why: 'blob 12 does not match' }],
	});
});
test('rollback never: a person decides', () => {
	const list = [at('old', 1), at('new', 2, { state: 'bad' })];
	expect(chooseCheckpoint(list, runtime, { mayFallBack: false })).toEqual({
		action: 'needs_attention',
		skipped: [{ id: 'new', why: 'it did not verify' }],
	});
});
test('state of a newer program is not given to an older one', () => {
	const list = [at('old', 1), at('new', 2, { schemaVersions: { openclaw: '2026.10.1' } })];
	expect(chooseCheckpoint(list, runtime, { mayFallBack: true })).toMatchObject({
		id: 'old',
		skipped: [{ id: 'new', why: 'it was written by openclaw 2026.10.1, the runtime has 2026.9.6' }],
	});
	expect(chooseCheckpoint(list, {}, { mayFallBack: true })).toMatchObject({ id: 'new' });
	expect(chooseCheckpoint([at('new', 1, { schemaVersions: { toString: '9' } })], {}, { mayFallBack: true })).toMatchObject({
		id: 'new',
	});
});
test('none there, and none good', () => {
	expect(chooseCheckpoint([], runtime, { mayFallBack: false })).toEqual({ action: 'none', skipped: [] });
	expect(chooseCheckpoint([at('a', 1, { state: 'bad' })], runtime, { mayFallBack: true })).toMatchObject({
		action: 'none',
		skipped: [{ id: 'a' }],
	});
});

describe('versions', () => {
	test.each([
		['2026.9.6', '2026.10.1', -1],
		['1.2', '1.2.0', 0],
		['v3', '3', 0],
		['12', '9', 1],
		['1.2-rc1', '1.2', -1],
		['1.2-rc1', '1.2-rc2', -1],
		['1.2+build7', '1.2', 0],
		['abc', 'abc', 0],
		['abc', '0', -1],
	])('%s against %s: %d', (a, b, sign) => {
		expect(compareVersions(a, b)).toBe(sign);
		expect(compareVersions(b, a)).toBe(sign === 0 ? 0 : -sign);
	});
});
