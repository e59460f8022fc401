import { expect, test } from 'vitest';
import { Batcher, type ItemOutcome } from './batcher.ts';

function gated() {
	const flushes: { items: readonly string[]; done: PromiseWithResolvers<readonly ItemOutcome<string>[]> }[] = [];
	const batcher = new Batcher<string, string>({
		flush: (items) => {
			const done = Promise.withResolvers<readonly ItemOutcome<string>[]>();
			flushes.push({ items, done });
			return done.promise;
		},
		maxItems: 3,
		maxWeight: 10,
		weigh: (item) => item.length,
	});
	return { flushes, batcher };
}
const ok = (items: readonly string[]): ItemOutcome<string>[] => items.map((value) => ({ ok: true, value }));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what gathers while a flush runs goes out in the next, in order and within the bounds', async () => {
	const { flushes, batcher } = gated();
	const first = batcher.add('a');
	await turn();
	const rest = ['b', 'c', 'd', 'eeeeeeeeeeeeee', 'f'].map((item) => batcher.add(item));
	await turn();
	expect(flushes.map((f) => f.items)).toEqual([['a']]);
	for (let at = 0; at < 4; at += 1) {
		const flush = flushes[at];
		flush?.done.resolve(ok(flush.items));
		await turn();
	}
	expect(flushes.map((f) => f.items)).toEqual([['a'], ['b', 'c', 'd'], ['eeeeeeeeeeeeee'], ['f']]);
	expect(await Promise.all([first, ...rest])).toEqual(['a', 'b', 'c', 'd', 'eeeeeeeeeeeeee', 'f']);
	await batcher.drain();
});

test('an item fails alone, a flush fails all of its items, and the next flush runs', async () => {
	const { flushes, batcher } = gated();
	const pair = [batcher.add('a'), batcher.add('b')].map((p) => p.catch((e: Error) => e.message));
	await turn();
	flushes[0]?.done.resolve([
		{ ok: true, value: 'a' },
		{ ok: false, error: new Error('only b') },
	]);
	expect(await Promise.all(pair)).toEqual(['a', 'only b']);
	const lost = batcher.add('c').catch((e: Error) => e.message);
	await turn();
	flushes[1]?.done.reject(new Error('store is down'));
	expect(await lost).toBe('store is down');
	const next = batcher.add('d');
	await turn();
	flushes[2]?.done.resolve(ok(['d']));
	expect(await next).toBe('d');
});
