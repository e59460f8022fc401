// The only decider of counts: from what is desired, what work needs and what is there, the list of what to do. Called by the
// reconciler for everything, by the orchestrator for one pool, and by dry runs; applied through lifecycle. Pure, and stable:
// the same world gives the same list.
import type { InstanceId } from '@mvm/protocol';
import type {
	Action,
	ActionReason,
	DeferralCode,
	DeferredAction,
	Demand,
	Desired,
	DesiredPool,
	DesiredTenant,
	ObservedInstance,
	Plan,
} from './plan-world.ts';
import { admit, type QuotaRequest, type Usage, usageAfter, usageOf } from './quota.ts';
import { ROLE_PRIORITY } from './role.ts';
import { decideSleep, elapsedMs, pressureOrder } from './sleep-policy.ts';

/** What is to be done now. Instances with an open operation are left alone; quotas are never planned over; counts are floors. */
export function plan(desired: Desired, demand: readonly Demand[], observed: readonly ObservedInstance[], nowMs: number): Plan {
	const out: Plan[] = [];
	for (const tenant of desired.tenants) {
		const pools = desired.pools.filter((pool) => pool.tenantId === tenant.tenantId);
		const mine = observed.filter((instance) => instance.tenantId === tenant.tenantId && instance.state !== 'destroyed');
		out.push(
			new TenantPlan(
				tenant,
				pools,
				demand.filter((d) => d.tenantId === tenant.tenantId),
				mine,
				nowMs,
			).run(),
		);
	}
	const checks = out.flatMap((p) => p.nextCheckAtMs ?? []);
	return {
		actions: out.flatMap((p) => p.actions),
		deferred: out.flatMap((p) => p.deferred),
		nextCheckAtMs: checks.length === 0 ? undefined : Math.min(...checks),
	};
}

const COMES_UP = new Set(['create', 'start', 'wake']);
const GOES_UP: ReadonlySet<string> = new Set<Action['kind']>(['create', 'start', 'wake']);
const GOES_DOWN = new Set(['sleep', 'stop', 'destroy']);
const isAwake = (i: ObservedInstance): boolean =>
	i.operation === undefined || i.operation === 'checkpoint' ? i.state === 'running' : COMES_UP.has(i.operation);
const isWarm = (i: ObservedInstance): boolean => (i.operation === undefined ? i.state === 'warm' : i.operation === 'warm');
const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** Best to wake first: warm, asleep with memory, asleep cold, stopped, never booted. */
function wakeRank(i: ObservedInstance): number {
	if (i.state === 'warm') return 0;
	if (i.state === 'sleeping') return i.hibernated ? 1 : 2;
	return i.state === 'stopped' ? 3 : i.state === 'ready' ? 4 : 5;
}

interface PoolView {
	readonly pool: DesiredPool;
	readonly demand: Demand;
	readonly instances: readonly ObservedInstance[];
	/** The awake count that floors and demand ask for. */
	readonly wantedAwake: number;
}

class TenantPlan {
	readonly #tenant: DesiredTenant;
	readonly #views: readonly PoolView[];
	readonly #observed: readonly ObservedInstance[];
	readonly #nowMs: number;
	readonly #actions: Action[] = [];
	readonly #deferred: DeferredAction[] = [];
	readonly #checks: number[] = [];
	/** Instances that this plan already does something with. */
	readonly #used = new Set<InstanceId>();
	/** How many starts that work waits for were refused by a quota. */
	#waiting = 0;
	/** Usage with everything planned so far; what goes down still counts until it is down. */
	#usage: Usage;

	constructor(
		tenant: DesiredTenant,
		pools: readonly DesiredPool[],
		demand: readonly Demand[],
		observed: readonly ObservedInstance[],
		nowMs: number,
	) {
		this.#tenant = tenant;
		this.#observed = observed.toSorted(byId);
		this.#nowMs = nowMs;
		const sorted = pools.toSorted(
			(a, b) => ROLE_PRIORITY[a.role] - ROLE_PRIORITY[b.role] || byId({ id: a.poolId }, { id: b.poolId }),
		);
		this.#views = sorted.map((pool) => viewOf(pool, demand, this.#observed));
		const size = new Map(pools.map((pool) => [pool.poolId, pool]));
		this.#usage = usageOf(
			this.#observed.map((i) => ({
				pool: i.poolId,
				// What is on its way down holds what it holds until it is down.
				state: i.state,
				isComingUp: i.operation !== undefined && COMES_UP.has(i.operation),
				vcpus: size.get(i.poolId)?.vcpus ?? 0,
				memMib: size.get(i.poolId)?.memMib ?? 0,
				dataDiskMib: size.get(i.poolId)?.dataDiskMib ?? 0,
			})),
			pools.length,
		);
	}

	run(): Plan {
		for (const i of this.#observed)
			if (!this.#views.some((v) => v.pool.poolId === i.poolId)) this.#defer(i, 'sleep', 'unknown_pool', undefined, i.id);
		if (this.#tenant.suspended) this.#suspend();
		else {
			// Gateways have their floor before anything else takes the quota; then work, then the other floors.
			const gateways = this.#views.filter((v) => v.pool.role === 'gateway');
			const others = this.#views.filter((v) => v.pool.role !== 'gateway');
			for (const view of gateways) this.#wakeForDemand(view);
			for (const view of gateways) this.#holdFloors(view);
			for (const view of others) this.#wakeForDemand(view);
			for (const view of others) this.#holdFloors(view);
			for (const view of this.#views.toReversed()) this.#letRest(view);
		}
		const priority = new Map(this.#views.map((v) => [v.pool.poolId, ROLE_PRIORITY[v.pool.role]]));
		const rank = (a: Action): number =>
			GOES_UP.has(a.kind) ? (priority.get(a.poolId) ?? 0) : 100 - (priority.get(a.poolId) ?? 0);
		const actions = this.#actions.toSorted((a, b) => rank(a) - rank(b));
		const checks = this.#checks.filter((at) => at > this.#nowMs);
		return { actions, deferred: this.#deferred, nextCheckAtMs: checks.length === 0 ? undefined : Math.min(...checks) };
	}

	/** Named instances first, then as many more as demand asks for. */
	#wakeForDemand(view: PoolView): void {
		const { demand } = view;
		for (const id of demand.instances) {
			const instance = view.instances.find((i) => i.id === id);
			if (instance === undefined) this.#defer(view.pool, 'wake', 'no_instance', undefined, id);
			else if (!isAwake(instance) && !this.#used.has(id)) this.#bringUp(view, instance, 'demand');
		}
		this.#raise(view, demand.awake, 'demand');
	}

	#holdFloors(view: PoolView): void {
		const { pool, instances } = view;
		if (pool.role !== 'gateway' && !this.#gatewaysReady()) {
			if (this.#awakeOf(view) < pool.desired.running) this.#defer(pool, 'wake', 'gateway_not_ready');
			return;
		}
		this.#raise(view, pool.desired.running, 'running_floor');
		// What is frozen, and what is awake beyond what is wanted and so will be frozen.
		const surplus = Math.max(0, this.#awakeOf(view) - Math.max(view.wantedAwake, pool.desired.running));
		let missing = this.#warmFloor(view) - this.#warmOf(view) - surplus;
		for (const instance of this.#sleepers(view)) {
			if (missing <= 0) break;
			if (instance.state !== 'warm' && this.#bringUp(view, instance, 'warm_floor')) missing -= 1;
		}
		// Every instance that may exist does, and has been booted once.
		const { running, warm, sleeping } = pool.desired;
		const total = running + warm + sleeping;
		let existing = instances.filter((i) => i.operation !== 'destroy').length + this.#createdIn(view);
		for (const i of instances)
			if (
				existing <= total &&
				(i.state === 'ready' || i.state === 'created') &&
				i.operation === undefined &&
				!this.#used.has(i.id)
			)
				this.#bringUp(view, i, 'first_boot');
		for (; existing < total; existing += 1) if (!this.#create(view, 'first_boot')) break;
	}

	/** Brings the awake count to `wanted`: resume warm, wake sleeping, start stopped or ready, create. */
	#raise(view: PoolView, wanted: number, reason: 'demand' | 'running_floor'): void {
		for (const instance of this.#sleepers(view)) {
			if (this.#awakeOf(view) >= wanted) return;
			this.#bringUp(view, instance, reason);
		}
		const { running, warm, sleeping } = view.pool.desired;
		const mayExist = running + warm + sleeping + (reason === 'demand' ? view.demand.mayCreate : 0);
		const existing = view.instances.filter((i) => i.operation !== 'destroy').length;
		while (this.#awakeOf(view) < wanted && existing + this.#createdIn(view) < mayExist) if (!this.#create(view, reason)) return;
		if (reason === 'demand' && this.#awakeOf(view) < wanted && !this.#isWaiting(view))
			this.#defer(view.pool, 'create', 'no_instance');
	}

	/** True when something was already said about why the pool's demand is not met. */
	#isWaiting(view: PoolView): boolean {
		return this.#deferred.some((d) => d.poolId === view.pool.poolId && d.wanted !== 'sleep' && d.wanted !== 'warm');
	}

	#sleepers(view: PoolView): ObservedInstance[] {
		return view.instances
			.filter((i) => !isAwake(i) && i.state !== 'running' && i.operation === undefined && !this.#used.has(i.id))
			.toSorted((a, b) => wakeRank(a) - wakeRank(b) || byId(a, b));
	}

	#bringUp(view: PoolView, instance: ObservedInstance, reason: ActionReason): boolean {
		const { pool } = view;
		const asleep = instance.state === 'warm' || instance.state === 'sleeping';
		const kind = asleep ? 'wake' : 'start';
		const no = (code: DeferralCode, detail?: string): false => {
			this.#defer(pool, kind, code, detail, instance.id);
			return false;
		};
		if (instance.operation !== undefined || instance.state === 'running') return no('operation_in_progress');
		if (instance.needsAttention) return no('needs_attention');
		if (instance.backoffUntilMs !== undefined && instance.backoffUntilMs > this.#nowMs) {
			this.#checks.push(instance.backoffUntilMs);
			return no('back_off');
		}
		if (!asleep && !pool.hasImage) return no('no_image');
		const request: QuotaRequest =
			instance.state === 'warm' ? { kind: 'thaw', vcpus: pool.vcpus } : { kind: 'start', vcpus: pool.vcpus, memMib: pool.memMib };
		const answer = admit(this.#tenant.quotas, this.#usage, request);
		if (!answer.admitted) {
			if (reason === 'demand') this.#makeRoom();
			return no('quota', answer.message);
		}
		this.#usage = usageAfter(this.#usage, request);
		this.#used.add(instance.id);
		this.#actions.push({ kind, tenantId: pool.tenantId, poolId: pool.poolId, instanceId: instance.id, reason });
		return true;
	}

	#create(view: PoolView, reason: ActionReason): boolean {
		const { pool } = view;
		if (!pool.hasImage) {
			this.#defer(pool, 'create', 'no_image');
			return false;
		}
		const create: QuotaRequest = { kind: 'create', pool: pool.poolId, dataDiskMib: pool.dataDiskMib };
		const start: QuotaRequest = { kind: 'start', vcpus: pool.vcpus, memMib: pool.memMib };
		const first = admit(this.#tenant.quotas, this.#usage, create);
		const second = first.admitted ? admit(this.#tenant.quotas, usageAfter(this.#usage, create), start) : first;
		if (!second.admitted) {
			if (reason === 'demand' && first.admitted) this.#makeRoom();
			this.#defer(pool, 'create', 'quota', second.message);
			return false;
		}
		this.#usage = usageAfter(usageAfter(this.#usage, create), start);
		this.#actions.push({ kind: 'create', tenantId: pool.tenantId, poolId: pool.poolId, reason });
		return true;
	}

	/** Puts the tenant's longest idle instance to sleep that nobody needs awake; one for each that waits for room. */
	#makeRoom(): void {
		this.#waiting += 1;
		const leaving = this.#observed.filter((i) => GOES_DOWN.has(i.operation ?? '')).length;
		if (leaving + this.#actions.filter((a) => a.kind === 'sleep').length >= this.#waiting) return;
		const candidates = this.#views.flatMap((view) =>
			view.instances
				.filter((i) => this.#mayRest(i, view) && i.state === 'running')
				.filter((i) => elapsedMs(i.enteredRunningAtMs, this.#nowMs) >= view.pool.runtimePolicy.minRunningSeconds * 1000)
				.map((i) => ({
					...i,
					pool: view.pool.poolId as string,
					state: 'running' as const,
					pinned: view.pool.pinned,
					critical: view.pool.critical,
				})),
		);
		const floors = new Map(this.#views.map((v) => [String(v.pool.poolId), v.wantedAwake]));
		const [first] = pressureOrder(candidates, floors, this.#nowMs);
		const view = this.#views.find((v) => v.pool.poolId === first?.poolId);
		if (first !== undefined && view !== undefined) this.#rest(view, first, 'sleep', 'make_room');
	}

	#mayRest(i: ObservedInstance, view: PoolView): boolean {
		return i.operation === undefined && !this.#used.has(i.id) && !view.demand.instances.includes(i.id);
	}

	/** Sleep policy above the floors, longest idle first. */
	#letRest(view: PoolView): void {
		const { pool } = view;
		const counts = { running: this.#awakeOf(view), warm: this.#warmOf(view) };
		const floors = { running: Math.max(pool.desired.running, view.wantedAwake), warm: this.#warmFloor(view) };
		const awake = view.instances
			.filter((i) => this.#mayRest(i, view) && (i.state === 'running' || i.state === 'warm'))
			.toSorted((a, b) => elapsedMs(b.idleSinceMs, this.#nowMs) - elapsedMs(a.idleSinceMs, this.#nowMs) || byId(a, b));
		for (const i of awake) {
			if (i.state !== 'running' && i.state !== 'warm') continue;
			const asked = { ...i, ...pool, state: i.state, nowMs: this.#nowMs, counts, floors };
			let decision = decideSleep(asked);
			const answer = admit(this.#tenant.quotas, this.#usage, { kind: 'warm' });
			if (decision.action === 'warm' && !answer.admitted) {
				// No room to be kept frozen: it stays as it is until it may sleep.
				this.#defer(pool, 'warm', 'quota', answer.message, i.id);
				decision = decideSleep({ ...asked, canWarm: false });
			}
			const { action } = decision;
			if (decision.nextCheckAtMs !== undefined) this.#checks.push(decision.nextCheckAtMs);
			for (const code of decision.deferredBy) this.#defer(pool, 'sleep', code, undefined, i.id);
			if (action === 'none') continue;
			if (action === 'checkpoint') {
				this.#rest(view, i, 'checkpoint', 'awake_checkpoint');
				continue;
			}
			if (action === 'warm') this.#usage = usageAfter(this.#usage, { kind: 'warm' });
			counts[i.state] -= 1;
			if (action === 'warm') counts.warm += 1;
			this.#rest(view, i, action, 'idle');
		}
	}

	/** Nothing is woken; what is awake sleeps as soon as nothing runs in it. Whoever asked for more is told. */
	#suspend(): void {
		for (const view of this.#views)
			if (this.#awakeOf(view) < view.wantedAwake) this.#defer(view.pool, 'wake', 'tenant_suspended');
		for (const view of this.#views.toReversed()) {
			for (const i of view.instances) {
				if ((i.state !== 'running' && i.state !== 'warm') || i.operation !== undefined) continue;
				const [held] = [...i.inhibitors].filter((name) => name !== 'manual_pin' && name !== 'pending_ingress');
				if (held === undefined) this.#rest(view, i, 'sleep', 'tenant_suspended');
				else this.#defer(view.pool, 'sleep', held, undefined, i.id);
			}
		}
	}

	#rest(view: PoolView, instance: ObservedInstance, kind: 'warm' | 'sleep' | 'checkpoint', reason: ActionReason): void {
		this.#used.add(instance.id);
		const { tenantId, poolId } = view.pool;
		this.#actions.push({ kind, tenantId, poolId, instanceId: instance.id, reason });
	}

	#defer(
		at: Pick<DesiredPool, 'tenantId' | 'poolId'>,
		wanted: DeferredAction['wanted'],
		code: DeferralCode,
		detail?: string,
		instanceId?: InstanceId,
	): void {
		const { tenantId, poolId } = at;
		const same = this.#deferred.some(
			(d) => d.poolId === poolId && d.instanceId === instanceId && d.wanted === wanted && d.code === code,
		);
		if (same) return;
		this.#deferred.push({
			tenantId,
			poolId,
			wanted,
			code,
			...(detail === undefined ? {} : { detail }),
			...(instanceId === undefined ? {} : { instanceId }),
		});
	}

	#createdIn(view: PoolView): number {
		return this.#actions.filter((a) => a.kind === 'create' && a.poolId === view.pool.poolId).length;
	}

	#plannedUp(view: PoolView): number {
		return this.#actions.filter((a) => a.poolId === view.pool.poolId && GOES_UP.has(a.kind)).length;
	}

	#plannedDown(view: PoolView): Action[] {
		return this.#actions.filter((a) => a.poolId === view.pool.poolId && (a.kind === 'sleep' || a.kind === 'warm'));
	}

	/** Awake when everything in progress and planned so far is done. */
	#awakeOf(view: PoolView): number {
		const down = this.#plannedDown(view).filter((a) =>
			view.instances.some((i) => 'instanceId' in a && i.id === a.instanceId && i.state === 'running'),
		).length;
		return view.instances.filter(isAwake).length + this.#plannedUp(view) - down;
	}

	/** Frozen when everything in progress and planned so far is done. */
	#warmOf(view: PoolView): number {
		return view.instances.filter((i) => isWarm(i) && !this.#used.has(i.id)).length;
	}

	/** The pool's floor of frozen instances as far as driver and quota let it be held; more would never come to rest. */
	#warmFloor(view: PoolView): number {
		if (!view.pool.canWarm) return 0;
		const own = view.instances.filter((i) => i.state === 'warm').length;
		return Math.min(view.pool.desired.warm, Math.max(0, this.#tenant.quotas.maxWarm - this.#usage.warm + own));
	}

	/** Every gateway pool of the tenant has its floor, awake and healthy. */
	#gatewaysReady(): boolean {
		return this.#views
			.filter((v) => v.pool.role === 'gateway')
			.every(({ pool, instances }) => {
				const healthy = instances.filter((i) => i.state === 'running' && i.isHealthy && !GOES_DOWN.has(i.operation ?? '')).length;
				return healthy >= pool.desired.running;
			});
	}
}

function viewOf(pool: DesiredPool, demands: readonly Demand[], observed: readonly ObservedInstance[]): PoolView {
	const { tenantId, poolId } = pool;
	const mine = demands.filter((d) => d.poolId === poolId);
	const demand: Demand = {
		tenantId,
		poolId,
		instances: [...new Set(mine.flatMap((d) => d.instances))],
		awake: Math.max(0, ...mine.map((d) => d.awake)),
		mayCreate: Math.max(0, ...mine.map((d) => d.mayCreate)),
	};
	const instances = observed.filter((i) => i.poolId === poolId);
	const named = instances.filter((i) => demand.instances.includes(i.id)).length;
	return { pool, demand, instances, wantedAwake: Math.max(pool.desired.running, demand.awake, named) };
}
