import { parseTenantId } from '@mvm/protocol';
import { expect, test } from 'vitest';
import { UntilChanged } from './until-changed.ts';

const [acme, other] = [parseTenantId('acme'), parseTenantId('acme-2')];
let now = 0;

test('what was read is kept until its tenant changes or it is old; failures are not kept', async () => {
	const cache = new UntilChanged<number>(() => now);
	let reads = 0;
	const read = async (): Promise<number> => ++reads;
	expect(await Promise.all([cache.get(acme, 'a', read), cache.get(acme, 'a', read)])).toEqual([1, 1]);
	expect(await cache.get(other, 'a', read)).toBe(2);
	cache.drop(acme);
	expect(await cache.get(acme, 'a', read)).toBe(3);
	expect(await cache.get(other, 'a', read)).toBe(2);
	now += 3_600_000;
	expect(await cache.get(other, 'a', read)).toBe(4);
	await expect(cache.get(acme, 'b', () => Promise.reject(new Error('away')))).rejects.toThrow('away');
	expect(await cache.get(acme, 'b', read)).toBe(5);
});

test('a read that was under way when its tenant changed is not handed to those who ask afterwards', async () => {
	const cache = new UntilChanged<string>(() => now);
	const slow = Promise.withResolvers<string>();
	const early = cache.get(acme, 'a', () => slow.promise);
	cache.drop(acme);
	expect(await cache.get(acme, 'a', async () => 'new')).toBe('new');
	slow.resolve('old');
	expect(await early).toBe('old');
	expect(await cache.get(acme, 'a', async () => 'newer')).toBe('new');
});
