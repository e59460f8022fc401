import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DocumentProblem, parseDeployFile } from '../index.ts';

const minimal = { tenant: { id: 'acme' }, pools: [{ id: 'workers', image: 'x' }] };
const withPool = (pool: object, more: object = {}) => ({ ...minimal, pools: [{ id: 'workers', image: 'x', ...pool }], ...more });

function problemsOf(document: unknown): readonly DocumentProblem[] {
	const result = parseDeployFile(document);
	return result.ok ? [] : result.problems;
}
const pathsOf = (document: unknown) => problemsOf(document).map((p) => p.path);
function poolOf(document: unknown, at = 0) {
	const result = parseDeployFile(document);
	if (!result.ok) throw new Error(JSON.stringify(result.problems));
	return result.value.pools[at];
}

describe('the deploy file', () => {
	it('needs little', () => {
		expect(parseDeployFile(minimal)).toMatchObject({
			ok: true,
			value: {
				tenant: { id: 'acme', quotas: { maxRunning: 8 } },
				secrets: {},
				pools: [{ id: 'workers', image: 'x', flake: null }],
			},
		});
	});

	it('fills what a runtime policy leaves out by the role', () => {
		const pool = poolOf(withPool({ role: 'capability-openclaw', runtime_policy: { min_running_seconds: 5 } }));
		expect(pool?.runtimePolicy).toEqual({
			minRunningSeconds: 5,
			minWarmSeconds: 120,
			drainTimeoutSeconds: 330,
			gracefulShutdownSeconds: 330,
		});
	});

	it('tells every problem at once, each with its path', () => {
		const problems = problemsOf({
			tenant: { id: 'Acme', quota: {} },
			secrets: { TOKEN: { file: 'x' } },
			pools: [
				{
					id: 'a',
					role: 'gatewy',
					image: 'x',
					ingress: [{ channel: 't', guest_port: 8787, path: '/x', verify: { header: 'h', secret: 'TOKN' }, event_id: 'id' }],
					secret_scopes: [{ integration: 'telegramm', keys: ['NOPE'] }],
					integrations: [{ name: 'telegram' }, { name: 'telegram' }],
				},
				{ id: 'a', image: 'x', vcpu: 1 },
			],
			pool: [],
		});
		expect(problems).toEqual([
			{ path: 'tenant.id', message: expect.stringContaining('1 to 63 characters') },
			{ path: 'tenant.quota', message: 'is not a known key; did you mean "quotas"?' },
			{ path: 'pools[0].role', message: expect.stringContaining('"gateway"') },
			{ path: 'pools[0].ingress[0].event_id', message: expect.stringContaining('JSON pointer') },
			{ path: 'pools[1].vcpu', message: 'is not a known key; did you mean "vcpus"?' },
			{ path: 'pool', message: 'is not a known key; did you mean "pools"?' },
			{ path: 'pools[1].id', message: '"a" is used already at pools[0].id' },
			{ path: 'pools[0].integrations[1].name', message: '"telegram" is used already at pools[0].integrations[0].name' },
			{
				path: 'pools[0].secret_scopes[0].integration',
				message: 'is not an integration of this pool; did you mean "telegram"?',
			},
			{ path: 'pools[0].secret_scopes[0].keys[0]', message: 'is not declared in [secrets]' },
			{ path: 'pools[0].ingress[0].verify.secret', message: 'is not declared in [secrets]; did you mean "TOKEN"?' },
		]);
	});

	it('wants every secret declared that something refers to', () => {
		const endpoint = { name: 'm', guest_port: 4010, upstream: 'https://x', credential: { secret: 'K', as: 'bearer' } };
		expect(pathsOf(withPool({ endpoints: [endpoint] }))).toEqual(['pools[0].endpoints[0].credential.secret']);
		expect(pathsOf(withPool({ endpoints: [endpoint] }, { secrets: { K: { file: 'k' } } }))).toEqual([]);
	});

	it('does not want more than its own quotas allow', () => {
		const pool = (id: string, more: object) => ({ id, image: 'x', ...more });
		expect(
			problemsOf({
				tenant: {
					id: 'acme',
					quotas: { max_running: 2, max_warm: 0, max_pools: 1, max_instances_per_pool: 3, max_mem_mib: 512, max_vcpus: 1 },
				},
				pools: [
					pool('a', { desired: { running: 2, sleeping: 2 }, mem_mib: 512, vcpus: 1 }),
					pool('b', { desired: { running: 1, warm: 1 } }),
				],
			}),
		).toEqual([
			{ path: 'pools', message: 'wants 2, but tenant.quotas.max_pools allows 1' },
			{ path: 'pools', message: 'wants 3, but tenant.quotas.max_running allows 2' },
			{ path: 'pools', message: 'wants 1, but tenant.quotas.max_warm allows 0' },
			{ path: 'pools[0].desired', message: 'wants 4, but tenant.quotas.max_instances_per_pool allows 3' },
			{ path: 'pools[1].vcpus', message: 'wants 2, but tenant.quotas.max_vcpus allows 1' },
			{ path: 'pools[1].mem_mib', message: 'wants 1024, but tenant.quotas.max_mem_mib allows 512' },
		]);
	});

	it('lets nobody take a port twice', () => {
		const endpoint = (name: string, guest_port: number) => ({ name, guest_port, upstream: 'https://x' });
		const channel = (name: string, guest_port: number, path = '/x') => ({
			channel: name,
			guest_port,
			path,
			verify: { header: 'h', secret: 'S' },
			event_id: '/id',
		});
		const document = (endpoints: object[], ingress: object[]) =>
			withPool({ endpoints, ingress }, { secrets: { S: { file: 's' } } });
		expect(pathsOf(document([endpoint('a', 4000), endpoint('b', 4000)], []))).toEqual(['pools[0].endpoints[1].guest_port']);
		expect(pathsOf(document([endpoint('a', 4000)], [channel('t', 4000)]))).toEqual(['pools[0].ingress[0].guest_port']);
		expect(pathsOf(document([], [channel('t', 4000), channel('u', 4000)]))).toEqual(['pools[0].ingress[1].guest_port']);
		expect(pathsOf(document([], [channel('t', 4000, '/a'), channel('u', 4000, '/b')]))).toEqual([]);
	});

	it('keeps channel names unique in the tenant, because they are addresses', () => {
		const ingress = [{ channel: 't', guest_port: 1, path: '/', verify: { header: 'h', secret: 'S' }, event_id: '/id' }];
		const pools = ['a', 'b'].map((id) => ({ id, image: 'x', ingress }));
		expect(pathsOf({ ...minimal, pools, secrets: { S: { file: 's' } } })).toEqual(['pools[1].ingress[0].channel']);
	});

	it('wants routes on gateways, to known pools, and without overlap over all tables', () => {
		const route = (name: string, pool_id: string, path_prefix: string) => ({
			name,
			match_rule: { path_prefix },
			target: { pool_id },
		});
		const gateway = (id: string, routes: object[]) => ({ id, role: 'gateway', routes });
		const workers = { id: 'workers', image: 'x' };
		const document = (...pools: object[]) => ({ ...minimal, pools: [...pools, workers] });
		expect(problemsOf(document(gateway('g', [route('r', 'worker', '/a')])))).toEqual([
			{ path: 'pools[0].routes[0].target.pool_id', message: 'is not a pool of this file; did you mean "workers"?' },
		]);
		expect(pathsOf(document({ id: 'g', image: 'x', routes: [route('r', 'workers', '/a')] }))).toEqual(['pools[0].routes']);
		expect(
			problemsOf(document(gateway('g', [route('one', 'workers', '/a')]), gateway('h', [route('two', 'workers', '/a/')]))),
		).toEqual([
			{
				path: 'pools[1].routes[0].match_rule',
				message: '"two" (pools[1].routes[0]) matches the same requests as "one" (pools[0].routes[0])',
			},
		]);
	});

	it('wants an image where instances are wanted', () => {
		const pools = [{ id: 'g', role: 'gateway', pinned: false, desired: { sleeping: 1 } }];
		expect(pathsOf({ ...minimal, pools })).toEqual(['pools[0].image']);
		expect(pathsOf({ ...minimal, pools: [{ id: 'w', pinned: true }] })).toEqual(['pools[0].image']);
		expect(pathsOf({ ...minimal, pools: [{ id: 'g', role: 'gateway', pinned: true }] })).toEqual([]);
		expect(pathsOf(withPool({ flake: '.' }))).toEqual(['pools[0].flake']);
	});

	it.each([
		null,
		undefined,
		1,
		'x',
		[],
		{},
		{ tenant: [] },
		{ tenant: { id: 'a' }, pools: {} },
		{ pools: [null, 1, { ingress: [1] }] },
	])('never fails otherwise than by problems: %j', (document) => expect(problemsOf(document).length).toBeGreaterThan(0));
});

describe('a damaged deploy file', () => {
	const golden = JSON.parse(readFileSync(new URL('../../../../test/golden/deploy/openclaw.json', import.meta.url), 'utf8'));
	type Place = readonly (string | number)[];
	const placesIn = (value: unknown, at: Place = []): Place[] =>
		typeof value === 'object' && value !== null
			? Object.entries(value).flatMap(([key, v]) => {
					const place = [...at, Array.isArray(value) ? Number(key) : key];
					return [place, ...placesIn(v, place)];
				})
			: [];
	const replaced = (value: unknown, [head, ...rest]: Place, by: unknown): unknown => {
		if (head === undefined) return by;
		const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>;
		const next = replaced(copy[head], rest, by);
		if (next === undefined) delete copy[head];
		else copy[head] = next;
		return copy;
	};
	const damage = fc.oneof(
		fc.constant(undefined),
		fc.jsonValue(),
		fc.string().map((s) => ({ [s]: s })),
	);

	it('gives a reading or problems with a path, whatever was done to it', () => {
		fc.assert(
			fc.property(fc.array(fc.tuple(fc.constantFrom(...placesIn(golden)), damage), { minLength: 1, maxLength: 3 }), (hits) => {
				let document: unknown = golden;
				for (const [place, by] of hits) {
					try {
						document = replaced(document, place, by);
					} catch {
						// An earlier hit has already taken this place away.
					}
				}
				const result = parseDeployFile(document);
				if (result.ok) return;
				expect(result.problems.length).toBeGreaterThan(0);
				for (const { path, message } of result.problems) {
					expect(message).toMatch(/^("|is|must|does|has|needs|needed|cannot|may|wants|\d)/);
					if (path === '') expect(document).not.toBeTypeOf('string');
				}
			}),
			{ numRuns: 300 },
		);
	});

	it('is a reading again when it is given back in wire form', () => {
		const { tenant, secrets, pools } = golden;
		const again = pools.map((pool: Record<string, unknown>) =>
			Object.fromEntries(Object.entries(pool).filter(([key, value]) => !(['image', 'flake'].includes(key) && value === null))),
		);
		expect(parseDeployFile({ tenant, secrets, pools: again })).toMatchObject({ ok: true });
	});
});

describe("the reference's manifest", () => {
	it('is taken with its defaults', () => {
		const pool = poolOf({ tenant: { id: 'alice', net_id: 3, subnet: '10.240.3.0/24' }, pools: [{ id: 'workers' }] });
		expect(pool).toMatchObject({
			flake: '.',
			profile: 'minimal',
			vcpus: 2,
			memMib: 1024,
			dataDiskMib: 0,
			desired: { running: 1, warm: 0 },
		});
	});

	it('turns the names of its secrets into environment names', () => {
		const result = parseDeployFile({ tenant: { id: 'a' }, pools: [{ id: 'w' }], secrets: { 'anthropic-key': { file: 'k' } } });
		expect(result).toMatchObject({ ok: true, value: { secrets: { ANTHROPIC_KEY: { file: 'k' } } } });
		const clash = { tenant: { id: 'a' }, pools: [{ id: 'w' }], secrets: { 'a-b': { file: 'k' }, a_b: { file: 'l' } } };
		expect(pathsOf(clash)).toEqual(['secrets.a-b', 'secrets.a_b']);
	});

	it('cannot say the desired counts twice', () => {
		expect(pathsOf(withPool({ desired: { running: 1 }, desired_running: 1 }))).toEqual(['pools[0].desired']);
	});
});
