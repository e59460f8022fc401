// Stable choice of an instance, and which route wins.
import { Route } from '@mvm/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseInstance, matchRoute } from './routing.ts';

describe('rendezvous', () => {
	const ids = fc.uniqueArray(
		fc.integer({ min: 0, max: 0xffffffff }).map((n) => `i-${n.toString(16).padStart(8, '0')}`),
		{ minLength: 1, maxLength: 12 },
	);
	test('the order in which instances are listed does not matter', () => {
		fc.assert(
			fc.property(fc.string(), ids, (key, list) => {
				expect(chooseInstance(key, list.toReversed())).toBe(chooseInstance(key, list));
			}),
		);
	});
	test('a key moves only when its own instance goes, or to the one that came', () => {
		fc.assert(
			fc.property(fc.string(), ids, (key, list) => {
				const chosen = chooseInstance(key, list);
				for (const gone of list) {
					const rest = list.filter((id) => id !== gone);
					if (rest.length > 0 && gone !== chosen) expect(chooseInstance(key, rest)).toBe(chosen);
				}
				expect([chosen, 'i-new']).toContain(chooseInstance(key, [...list, 'i-new']));
			}),
		);
	});
	test('keys spread evenly', () => {
		const list = ['i-00000001', 'i-00000002', 'i-00000003', 'i-00000004'];
		const counts = new Map<string, number>();
		for (let n = 0; n < 8000; n += 1) {
			const id = chooseInstance(String(n), list);
			counts.set(id, (counts.get(id) ?? 0) + 1);
		}
		for (const id of list) expect(Math.abs((counts.get(id) ?? 0) - 2000)).toBeLessThan(250);
	});
	test('the answer is written down: changing the hash would move every conversation', () => {
		expect(
			['a', 'b', 'c', '4711', '4712'].map((key) => chooseInstance(key, ['i-00000001', 'i-00000002', 'i-00000003'])),
		).toMatchInlineSnapshot(`
			[
			  "i-00000002",
			  "i-00000003",
			  "i-00000003",
			  "i-00000003",
			  "i-00000002",
			]
		`);
	});
	test('no instance, no choice', () => expect(() => chooseInstance('a', [])).toThrow('no instance'));
});

describe('routes', () => {
	const route = (name: string, match_rule: object): Route => Route.parse({ name, match_rule, target: { pool_id: 'workers' } });
	const routes = [
		route('all', { path_prefix: '/' }),
		route('app', { path_prefix: '/app' }),
		route('app inside', { path_prefix: '/app', source_cidr: '10.0.0.0/8' }),
		route('app near', { path_prefix: '/app/', source_cidr: '10.1.0.0/16' }),
		route('deep', { path_prefix: '/app/deep' }),
		route('port', { port: 8443 }),
		route('port inside', { port: 8443, source_cidr: 'fd00::/8' }),
	];
	test.each([
		['/', undefined, undefined, 'all'],
		['/apple', undefined, undefined, 'all'],
		['/app', undefined, undefined, 'app'],
		['/app/x', undefined, '192.168.0.1', 'app'],
		['/app/x', undefined, '10.2.3.4', 'app inside'],
		['/app/x', undefined, '10.1.3.4', 'app near'],
		['/app/x', undefined, '::ffff:10.1.3.4', 'app near'],
		['/app/deep/er', undefined, '10.1.3.4', 'deep'],
		['/app/deep', 8443, '10.1.3.4', 'port'],
		[undefined, 8443, 'fd12::1', 'port inside'],
		[undefined, 8443, 'not an address', 'port'],
		[undefined, 9000, undefined, undefined],
	])('path %s, port %s, from %s: %s', (path, port, sourceIp, name) => {
		const request = {
			...(path === undefined ? {} : { path }),
			...(port === undefined ? {} : { port }),
			...(sourceIp === undefined ? {} : { sourceIp }),
		};
		expect(matchRoute(routes, request)?.name).toBe(name);
		expect(matchRoute(routes.toReversed(), request)?.name).toBe(name);
	});
});
