// The planner: named decisions first, then promises over generated worlds that are simulated to their end.
import type { InstanceId, PoolId, TenantId } from '@mvm/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { advance, type InstanceEvent } from './instance-state.ts';
import type { Action, Demand, Desired, DesiredPool, DesiredTenant, ObservedInstance, Plan } from './plan-world.ts';
import { printPlan } from './plan-world.ts';
import { plan } from './planner.ts';
import { usageOf } from './quota.ts';
import { ROLE_PRIORITY, type RoleName } from './role.ts';

const NOW = 1_000_000_000;
const T = 'acme' as TenantId;
const tenant = (more: Partial<DesiredTenant> = {}): DesiredTenant => ({
	tenantId: T,
	suspended: false,
	quotas: { maxVcpus: 64, maxMemMib: 65_536, maxRunning: 8, maxWarm: 4, maxPools: 4, maxInstancesPerPool: 16, maxDiskGib: 100 },
	...more,
});
const pool = (id: string, desired: [number, number, number], more: Partial<DesiredPool> = {}): DesiredPool => ({
	tenantId: T,
	poolId: id as PoolId,
	role: 'worker',
	desired: { running: desired[0], warm: desired[1], sleeping: desired[2] },
	runtimePolicy: { minRunningSeconds: 60, minWarmSeconds: 30, drainTimeoutSeconds: 30, gracefulShutdownSeconds: 15 },
	sleepPolicy: { warmThresholdSecs: 300, sleepThresholdSecs: 900, cpuThreshold: 5, netBytesThreshold: 1024, resume: 'warm' },
	vcpus: 1,
	memMib: 1024,
	dataDiskMib: 1024,
	pinned: false,
	critical: false,
	hasImage: true,
	canWarm: true,
	...more,
});
const instance = (
	id: string,
	poolId: string,
	state: ObservedInstance['state'],
	more: Partial<ObservedInstance> = {},
): ObservedInstance => ({
	id: id as InstanceId,
	tenantId: T,
	poolId: poolId as PoolId,
	state,
	hibernated: false,
	operation: undefined,
	inhibitors: new Set(),
	idleSinceMs: NOW,
	enteredRunningAtMs: NOW - 1e6,
	enteredWarmAtMs: NOW - 1e6,
	takenSinceCheckpoint: 0,
	lastCheckpointAtMs: undefined,
	backoffUntilMs: undefined,
	isHealthy: true,
	needsAttention: false,
	...more,
});
const want = (poolId: string, awake: number, more: Partial<Demand> = {}): Demand => ({
	tenantId: T,
	poolId: poolId as PoolId,
	awake,
	instances: [],
	mayCreate: 0,
	...more,
});
const desired = (pools: DesiredPool[], more: Partial<DesiredTenant> = {}): Desired => ({ tenants: [tenant(more)], pools });
const lines = (p: Plan): string[] => p.actions.map((a) => `${a.kind} ${'instanceId' in a ? a.instanceId : a.poolId} ${a.reason}`);
const codes = (p: Plan): string[] => p.deferred.map((d) => d.code);

describe('creating', () => {
	test('a pool of one sleeping instance creates and boots it once', () => {
		expect(lines(plan(desired([pool('w', [0, 0, 1])]), [], [], NOW))).toEqual(['create w first_boot']);
	});
	test('a created instance whose start failed is started again, not replaced, and only after its back-off', () => {
		const d = desired([pool('w', [0, 0, 1])]);
		const failed = instance('i-1', 'w', 'ready', { backoffUntilMs: NOW + 500 });
		const waiting = plan(d, [], [failed], NOW);
		expect(waiting).toMatchObject({ actions: [], deferred: [{ instanceId: 'i-1', code: 'back_off' }], nextCheckAtMs: NOW + 500 });
		expect(lines(plan(d, [], [failed], NOW + 500))).toEqual(['start i-1 first_boot']);
	});
	test('without an image nothing is created, and it says so', () => {
		expect(codes(plan(desired([pool('w', [0, 0, 3], { hasImage: false })]), [], [], NOW))).toEqual(['no_image']);
	});
	test('a pool of zero creates only what demand may create', () => {
		const d = desired([pool('w', [0, 0, 0])]);
		expect(codes(plan(d, [want('w', 1)], [], NOW))).toEqual(['no_instance']);
		expect(lines(plan(d, [want('w', 2, { mayCreate: 1 })], [], NOW))).toEqual(['create w demand']);
	});
});

describe('waking', () => {
	const all = [
		instance('i-1', 'w', 'ready'),
		instance('i-2', 'w', 'stopped'),
		instance('i-3', 'w', 'sleeping'),
		instance('i-4', 'w', 'sleeping', { hibernated: true }),
		instance('i-5', 'w', 'warm'),
	];
	test('warm, then hibernated, then cold, then stopped, then never booted', () => {
		const d = desired([pool('w', [0, 0, 0])]);
		expect(lines(plan(d, [want('w', 5)], all, NOW))).toEqual([
			'wake i-5 demand',
			'wake i-4 demand',
			'wake i-3 demand',
			'start i-2 demand',
			'start i-1 demand',
		]);
	});
	test('the named instance, whatever the others are', () => {
		const d = desired([pool('w', [0, 0, 0])]);
		expect(lines(plan(d, [want('w', 1, { instances: ['i-3' as InstanceId] })], all, NOW))).toEqual(['wake i-3 demand']);
		expect(codes(plan(d, [want('w', 0, { instances: ['i-9' as InstanceId] })], all, NOW))).toEqual(['no_instance']);
	});
	test('what needs attention or is in an operation is left alone', () => {
		const d = desired([pool('w', [2, 0, 0])]);
		const p = plan(
			d,
			[],
			[instance('i-1', 'w', 'stopped', { needsAttention: true }), instance('i-2', 'w', 'warm', { operation: 'sleep' })],
			NOW,
		);
		expect(lines(p)).toEqual([]);
		expect(codes(p)).toEqual(['needs_attention']);
	});
	test('a wake in flight counts as awake', () => {
		const p = plan(
			desired([pool('w', [1, 0, 1])]),
			[],
			[instance('i-1', 'w', 'sleeping', { operation: 'wake' }), instance('i-2', 'w', 'sleeping')],
			NOW,
		);
		expect(lines(p)).toEqual([]);
	});
	test('a warm floor is filled by waking what will then be frozen', () => {
		const p = plan(
			desired([pool('w', [0, 1, 1])]),
			[],
			[instance('i-1', 'w', 'sleeping'), instance('i-2', 'w', 'sleeping')],
			NOW,
		);
		expect(lines(p)).toEqual(['wake i-1 warm_floor']);
	});
});

describe('resting', () => {
	const idle = (id: string, secs: number, more: Partial<ObservedInstance> = {}): ObservedInstance =>
		instance(id, 'w', 'running', { idleSinceMs: NOW - secs * 1000, ...more });
	test('longest idle first, the floor stays', () => {
		const p = plan(desired([pool('w', [1, 0, 2])]), [], [idle('i-1', 900), idle('i-2', 1000), idle('i-3', 950)], NOW);
		expect(lines(p)).toEqual(['sleep i-2 idle', 'sleep i-3 idle']);
		expect(codes(p)).toEqual(['floor_running']);
	});
	test('what demand needs stays, whatever the floor', () => {
		const p = plan(desired([pool('w', [0, 0, 2])]), [want('w', 1)], [idle('i-1', 900), idle('i-2', 1000)], NOW);
		expect(lines(p)).toEqual(['sleep i-2 idle']);
	});
	test('a running turn is never put to sleep', () => {
		const p = plan(desired([pool('w', [0, 0, 1])]), [], [idle('i-1', 9000, { inhibitors: new Set(['running_turn']) })], NOW);
		expect(p).toMatchObject({ actions: [], deferred: [{ code: 'running_turn' }] });
	});
	test('workers before gateways', () => {
		const p = plan(
			desired([pool('front', [0, 0, 1], { role: 'gateway' }), pool('w', [0, 0, 1])]),
			[],
			[instance('i-1', 'front', 'running', { idleSinceMs: NOW - 1e6 }), idle('i-2', 1000)],
			NOW,
		);
		expect(lines(p)).toEqual(['sleep i-2 idle', 'sleep i-1 idle']);
	});
	test('the warm quota keeps an instance awake until it may sleep', () => {
		const quotas = { ...tenant().quotas, maxWarm: 0 };
		const d = desired([pool('w', [0, 1, 0])], { quotas });
		expect(codes(plan(d, [], [idle('i-1', 400)], NOW))).toEqual(['quota']);
		expect(lines(plan(d, [], [idle('i-1', 900)], NOW))).toEqual(['sleep i-1 idle']);
	});
});

describe('roles, quotas, suspension', () => {
	test('gateways first, and the others wait until they answer', () => {
		const d = desired([pool('w', [1, 0, 0]), pool('front', [1, 0, 0], { role: 'gateway' })]);
		const first = plan(d, [], [], NOW);
		expect(lines(first)).toEqual(['create front running_floor']);
		expect(codes(first)).toEqual(['gateway_not_ready']);
		const up = (isHealthy: boolean): Plan => plan(d, [], [instance('i-1', 'front', 'running', { isHealthy })], NOW);
		expect(lines(up(false))).toEqual([]);
		expect(lines(up(true))).toEqual(['create w running_floor']);
	});
	test('work does not wait for gateways', () => {
		const d = desired([pool('w', [0, 0, 1]), pool('front', [1, 0, 0], { role: 'gateway' })]);
		expect(lines(plan(d, [want('w', 1)], [instance('i-1', 'w', 'sleeping')], NOW))).toEqual([
			'create front running_floor',
			'wake i-1 demand',
		]);
	});
	test('over quota refuses with figures and makes room from what idles', () => {
		const quotas = { ...tenant().quotas, maxRunning: 1 };
		const idle = instance('i-1', 'w', 'running', { idleSinceMs: NOW - 5000 });
		const p = plan(
			desired([pool('w', [0, 0, 2])], { quotas }),
			[want('w', 0, { instances: ['i-2' as InstanceId] })],
			[idle, instance('i-2', 'w', 'sleeping')],
			NOW,
		);
		expect(lines(p)).toEqual([]);
		const other = plan(
			desired([pool('w', [0, 0, 1]), pool('x', [0, 0, 1])], { quotas }),
			[want('x', 1)],
			[idle, instance('i-2', 'x', 'sleeping')],
			NOW,
		);
		expect(lines(other)).toEqual(['sleep i-1 make_room']);
		expect(other.deferred).toMatchObject([{ instanceId: 'i-2', code: 'quota', detail: 'max_running: 1 + 1 of 1 instances' }]);
	});
	test('a suspended tenant is put to sleep when nothing runs, and nothing is woken', () => {
		const p = plan(
			desired([pool('w', [1, 0, 2])], { suspended: true }),
			[want('w', 2)],
			[
				instance('i-1', 'w', 'running'),
				instance('i-2', 'w', 'running', { inhibitors: new Set(['running_turn']) }),
				instance('i-3', 'w', 'sleeping'),
			],
			NOW,
		);
		expect(lines(p)).toEqual(['sleep i-1 tenant_suspended']);
		expect(codes(p)).toEqual(['running_turn']);
	});
	test('a plan reads well', () => {
		const p = plan(desired([pool('w', [1, 0, 0]), pool('front', [1, 0, 0], { role: 'gateway' })]), [], [], NOW);
		expect(printPlan(p)).toEqual(['create acme/front (running_floor)', 'not now: wake acme/w (gateway_not_ready)']);
	});
});

// ---- generated worlds ----------------------------------------------------------------------------------------------------

interface Sim {
	instances: ObservedInstance[];
	born: number;
	now: number;
}
const step = (i: ObservedInstance, ...events: InstanceEvent[]): ObservedInstance => {
	let life = { state: i.state, incarnation: 1, hibernated: i.hibernated };
	for (const event of events) {
		const next = advance(life, event);
		if (!next.ok) throw new Error(`planned what is illegal: ${next.reason}`);
		life = next.next;
	}
	return { ...i, state: life.state, hibernated: life.hibernated };
};
/** Does what lifecycle would; `fails` makes a start or wake fail after its instance exists. */
function apply(sim: Sim, action: Action, fails: boolean): void {
	if (action.kind === 'create') {
		const born = instance(`i-${String(sim.born).padStart(4, '0')}`, action.poolId, 'ready');
		sim.born += 1;
		sim.instances.push(born);
		apply(sim, { ...action, kind: 'start', instanceId: born.id }, fails);
		return;
	}
	const at = sim.instances.findIndex((i) => i.id === action.instanceId);
	const now = sim.instances[at];
	if (now === undefined || now.operation !== undefined)
		throw new Error(`planned for ${action.instanceId}, which is not to be touched`);
	const rise = { incarnation: 1 };
	let next = now;
	if (action.kind === 'start' || action.kind === 'wake') {
		if (fails) next = { ...now, backoffUntilMs: sim.now + 5000 };
		else {
			const how: InstanceEvent['kind'] = now.state === 'warm' ? 'thawed' : now.hibernated ? 'woken' : 'booted';
			const resolved: InstanceEvent[] = now.state === 'created' ? [{ kind: 'image_resolved' }] : [];
			next = {
				...step(now, ...resolved, { kind: how, ...rise } as InstanceEvent),
				enteredRunningAtMs: sim.now,
				idleSinceMs: sim.now,
				backoffUntilMs: undefined,
			};
		}
	} else if (action.kind === 'warm') next = { ...step(now, { kind: 'frozen' }), enteredWarmAtMs: sim.now };
	else if (action.kind === 'sleep') next = step(now, { kind: 'frozen' }, { kind: 'slept', hibernated: true });
	else next = { ...now, takenSinceCheckpoint: 0, lastCheckpointAtMs: sim.now };
	sim.instances[at] = next;
}

const count = fc.integer({ min: 0, max: 2 });
const worldOf = fc
	.record({
		pools: fc.array(
			fc.record({
				desired: fc.tuple(count, count, count),
				role: fc.constantFrom(...(Object.keys(ROLE_PRIORITY) as RoleName[])),
				canWarm: fc.boolean(),
				hasImage: fc.boolean(),
				demand: fc.nat(3),
				mayCreate: fc.nat(1),
				instances: fc.array(
					fc.record({
						state: fc.constantFrom('created', 'ready', 'running', 'warm', 'sleeping', 'stopped', 'destroyed'),
						hibernated: fc.boolean(),
						operation: fc.option(fc.constantFrom('wake', 'sleep', 'checkpoint', 'destroy', 'stop', 'warm'), {
							nil: undefined,
							freq: 6,
						}),
						idleSecs: fc.integer({ min: -10, max: 2000 }),
						busy: fc.boolean(),
						backoffSecs: fc.integer({ min: -5, max: 5 }),
						needsAttention: fc.boolean(),
						taken: fc.nat(1),
					}),
					{ maxLength: 4 },
				),
			}),
			{ minLength: 1, maxLength: 3 },
		),
		quotas: fc.record({
			maxRunning: fc.nat(5),
			maxWarm: fc.nat(3),
			maxMemMib: fc.integer({ min: 0, max: 8192 }),
			maxInstancesPerPool: fc.nat(6),
		}),
		suspended: fc.boolean(),
	})
	.map((w) => ({
		desired: desired(
			w.pools.map((p, at) => pool(`p${at}`, p.desired, { role: p.role, canWarm: p.canWarm, hasImage: p.hasImage })),
			{ suspended: w.suspended, quotas: { ...tenant().quotas, ...w.quotas } },
		),
		demand: w.pools.map((p, at) => want(`p${at}`, p.demand, { mayCreate: p.mayCreate })),
		instances: w.pools.flatMap((p, at) =>
			p.instances.map((i, n) =>
				instance(`i-${at}${n}`, `p${at}`, i.state as ObservedInstance['state'], {
					hibernated: i.state === 'sleeping' && i.hibernated,
					operation: i.operation as ObservedInstance['operation'],
					idleSinceMs: NOW - i.idleSecs * 1000,
					inhibitors: new Set(i.busy ? (['running_turn'] as const) : []),
					backoffUntilMs: NOW + i.backoffSecs * 1000,
					needsAttention: i.needsAttention,
					takenSinceCheckpoint: i.taken,
				}),
			),
		),
	}));
type World = typeof worldOf extends fc.Arbitrary<infer W> ? W : never;
const usage = (world: World, instances: readonly ObservedInstance[]) =>
	usageOf(
		instances.map((i) => ({
			pool: i.poolId,
			state: i.state,
			isComingUp: i.operation === 'wake' || i.operation === 'start' || i.operation === 'create',
			vcpus: 1,
			memMib: 1024,
			dataDiskMib: 1024,
		})),
		world.desired.pools.length,
	);

describe('over generated worlds', () => {
	test('one plan: nothing twice, nothing in an operation, nothing over quota or counts, roles in order, same list again', () => {
		fc.assert(
			fc.property(worldOf, (world) => {
				const p = plan(world.desired, world.demand, world.instances, NOW);
				expect(plan(world.desired, world.demand, world.instances.toReversed(), NOW)).toEqual(p);
				const touched = p.actions.flatMap((a) => ('instanceId' in a ? [a.instanceId] : []));
				expect(new Set(touched).size).toBe(touched.length);
				for (const id of touched) expect(world.instances.find((i) => i.id === id)?.operation).toBeUndefined();
				const before = usage(world, world.instances);
				const ups = p.actions.filter((a) => ['create', 'start', 'wake'].includes(a.kind));
				if (ups.length > 0) {
					expect(world.desired.tenants[0]?.suspended).toBe(false);
					const { quotas } = world.desired.tenants[0] ?? tenant();
					expect(before.running + ups.length).toBeLessThanOrEqual(quotas.maxRunning);
				}
				for (const { poolId, desired: d, role } of world.desired.pools) {
					const existing = world.instances.filter(
						(i) => i.poolId === poolId && i.state !== 'destroyed' && i.operation !== 'destroy',
					).length;
					const created = p.actions.filter((a) => a.kind === 'create' && a.poolId === poolId).length;
					const may = d.running + d.warm + d.sleeping + (world.demand.find((w) => w.poolId === poolId)?.mayCreate ?? 0);
					if (created > 0) expect(existing + created).toBeLessThanOrEqual(may);
					expect(role in ROLE_PRIORITY).toBe(true);
				}
				const roleOf = (a: Action): number =>
					ROLE_PRIORITY[world.desired.pools.find((x) => x.poolId === a.poolId)?.role ?? 'worker'];
				const upRoles = ups.map(roleOf);
				const downRoles = p.actions.filter((a) => !ups.includes(a)).map(roleOf);
				expect(upRoles).toEqual(upRoles.toSorted());
				expect(downRoles).toEqual(downRoles.toSorted().toReversed());
				for (const a of p.actions)
					if (a.kind === 'warm' || a.kind === 'sleep')
						expect(world.instances.find((i) => i.id === a.instanceId)?.inhibitors.has('running_turn')).toBe(false);
			}),
			{ numRuns: 1000 },
		);
	});

	test('applied again and again it comes to rest in bounded rounds, within quota all the way, with floors held where they can be', () => {
		fc.assert(
			fc.property(worldOf, fc.boolean(), (world, withDemand) => {
				const quiet = world.instances.map((i) => ({
					...i,
					operation: undefined,
					inhibitors: new Set<never>(),
					backoffUntilMs: undefined,
				}));
				const sim: Sim = { instances: quiet, born: 0, now: NOW };
				const demand = withDemand ? world.demand : [];
				const { quotas } = world.desired.tenants[0] ?? tenant();
				const start = usage(world, quiet);
				let idleRounds = 0;
				let rounds = 0;
				for (; rounds < 200 && idleRounds < 2; rounds += 1) {
					const p = plan(world.desired, demand, sim.instances, sim.now);
					for (const action of p.actions) apply(sim, action, false);
					const after = usage(world, sim.instances);
					expect(after.running).toBeLessThanOrEqual(Math.max(quotas.maxRunning, start.running));
					expect(after.warm).toBeLessThanOrEqual(Math.max(quotas.maxWarm, start.warm));
					expect(after.memMib).toBeLessThanOrEqual(Math.max(quotas.maxMemMib, start.memMib));
					idleRounds = p.actions.length === 0 && p.nextCheckAtMs === undefined ? idleRounds + 1 : 0;
					sim.now = Math.max(p.nextCheckAtMs ?? sim.now, sim.now + 1000);
				}
				expect(rounds).toBeLessThan(60);
				if (withDemand || world.desired.tenants[0]?.suspended) return;
				const gatewaysUp = world.desired.pools
					.filter((x) => x.role === 'gateway')
					.every((x) => sim.instances.filter((i) => i.poolId === x.poolId && i.state === 'running').length >= x.desired.running);
				const tight = usage(world, sim.instances);
				for (const { poolId, desired: d, hasImage, role } of world.desired.pools) {
					const mine = sim.instances.filter((i) => i.poolId === poolId && i.state !== 'destroyed');
					const awake = mine.filter((i) => i.state === 'running').length;
					if (!hasImage || mine.some((i) => i.needsAttention) || (role !== 'gateway' && !gatewaysUp)) continue;
					if (
						tight.running >= quotas.maxRunning ||
						tight.memMib + 1024 > quotas.maxMemMib ||
						mine.length >= quotas.maxInstancesPerPool
					)
						continue;
					expect(awake).toBe(d.running);
					expect(mine.length).toBeGreaterThanOrEqual(d.running + d.warm + d.sleeping);
				}
			}),
			{ numRuns: 400 },
		);
	});

	test('starts that always fail never make more instances than the counts allow', () => {
		fc.assert(
			fc.property(worldOf, (world) => {
				const sim: Sim = { instances: world.instances.map((i) => ({ ...i, operation: undefined })), born: 0, now: NOW };
				for (let round = 0; round < 15; round += 1) {
					const p = plan(world.desired, world.demand, sim.instances, sim.now);
					for (const action of p.actions) apply(sim, action, true);
					sim.now += 2500;
				}
				for (const { poolId, desired: d } of world.desired.pools) {
					const before = world.instances.filter((i) => i.poolId === poolId && i.state !== 'destroyed').length;
					const after = sim.instances.filter((i) => i.poolId === poolId && i.state !== 'destroyed').length;
					const may = d.running + d.warm + d.sleeping + (world.demand.find((w) => w.poolId === poolId)?.mayCreate ?? 0);
					expect(after).toBeLessThanOrEqual(Math.max(before, may));
				}
			}),
			{ numRuns: 300 },
		);
	});
});
