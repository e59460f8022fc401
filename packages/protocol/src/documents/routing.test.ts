import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { overlappingRoutes, Route, RoutingTable } from '../index.ts';
import { canonicalCidr } from './cidr.ts';

const route = (rule: object, name = '') => Route.parse({ name, match_rule: rule, target: { pool_id: 'workers' } });

describe('a route', () => {
	it('needs at least one criterion', () => {
		expect(Route.safeParse({ match_rule: {}, target: { pool_id: 'a' } })).toEqual({
			ok: false,
			problems: [{ path: 'match_rule', message: 'must have a port, path_prefix or source_cidr' }],
		});
	});
	it.each([
		[{ port: 0 }, 'match_rule.port'],
		[{ path_prefix: 'app' }, 'match_rule.path_prefix'],
		[{ path_prefix: '/a?b' }, 'match_rule.path_prefix'],
		[{ source_cidr: '10.0.0.0/33' }, 'match_rule.source_cidr'],
		[{ source_cidr: '' }, 'match_rule.source_cidr'],
	])('refuses %j', (rule, path) => {
		const result = Route.safeParse({ match_rule: rule, target: { pool_id: 'a' } });
		expect(result.ok ? [] : result.problems.map((p) => p.path)).toEqual([path]);
	});
	it('selects any instance unless it says otherwise', () => {
		expect(route({ port: 80 }).target.instanceSelector).toBe('any');
		expect(
			RoutingTable.parse({
				routes: [{ match_rule: { port: 1 }, target: { pool_id: 'a', instance_selector: { by_ip: '10.0.0.5' } } }],
			}).routes[0]?.target.instanceSelector,
		).toEqual({ byIp: '10.0.0.5' });
	});
});

describe('overlap', () => {
	it('is two routes with the same port, prefix and range, however they are spelled', () => {
		const same = [
			route({ path_prefix: '/app/', source_cidr: '10.1.2.3/8' }),
			route({ path_prefix: '/app', source_cidr: '10.0.0.0/8' }),
		];
		expect(overlappingRoutes(same)).toEqual([{ first: 0, second: 1 }]);
	});
	it('is not a longer prefix, a narrower range or the same port with another prefix', () => {
		const differ = [
			route({ port: 80, path_prefix: '/a' }),
			route({ port: 80, path_prefix: '/b' }),
			route({ port: 80 }),
			route({ path_prefix: '/a' }),
			route({ path_prefix: '/a/b' }),
			route({ source_cidr: '10.0.0.0/8' }),
			route({ source_cidr: '10.0.0.0/16' }),
		];
		expect(overlappingRoutes(differ)).toEqual([]);
	});
});

describe('address ranges', () => {
	it.each([
		['10.1.2.3/8', '10.0.0.0/8'],
		['0.0.0.0/0', '0.0.0.0/0'],
		['192.168.1.1', '192.168.1.1/32'],
		['10.1.255.9/23', '10.1.254.0/23'],
		['::1', '0:0:0:0:0:0:0:1/128'],
		['2001:DB8::ff/33', '2001:db8:0:0:0:0:0:0/33'],
		['::/0', '0:0:0:0:0:0:0:0/0'],
	])('%s is %s', (text, canonical) => expect(canonicalCidr(text)).toBe(canonical));
	it.each([
		'',
		'10.0.0/8',
		'10.0.0.256',
		'01.0.0.0/8',
		'10.0.0.0/',
		'10.0.0.0/8/8',
		'10.0.0.0/-1',
		':::',
		'1::2::3',
		'g::',
		'1:2:3:4:5:6:7:8:9',
		'::1/129',
	])('%j is none', (text) => expect(canonicalCidr(text)).toBeUndefined());
	it('are stable once canonical', () => {
		fc.assert(
			fc.property(
				fc.oneof(
					fc.ipV4(),
					fc.ipV6().filter((ip) => !ip.includes('.')),
				),
				fc.integer({ min: 0, max: 32 }),
				(ip, bits) => {
					const once = canonicalCidr(`${ip}/${bits}`);
					expect(once).toBeDefined();
					expect(canonicalCidr(once ?? '')).toBe(once);
				},
			),
		);
	});
});
