// What the planner looks at and what it says: desired, demand, observed, actions, deferrals. Made by the reconciler from the
// store and by dry runs; the planner itself is planner.ts.
import type { DesiredCounts, InstanceId, PoolId, PoolSpec, Quotas, Role, TenantId } from '@mvm/protocol';
import type { Inhibitor } from './inhibitors.ts';
import type { InstanceState } from './instance-state.ts';
import type { OperationKind } from './operation.ts';
import type { Deferral } from './sleep-policy.ts';

export interface DesiredTenant {
	readonly tenantId: TenantId;
	readonly quotas: Quotas;
	/** Nothing of it is created or woken, and what is awake goes to sleep when nothing runs in it any more. */
	readonly suspended: boolean;
}

export interface DesiredPool
	extends Pick<PoolSpec, 'runtimePolicy' | 'sleepPolicy' | 'vcpus' | 'memMib' | 'dataDiskMib' | 'pinned' | 'critical'> {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly role: Role;
	/** `running` and `warm` are floors, `sleeping` is how many more may exist. */
	readonly desired: DesiredCounts;
	/** An image revision is there to boot. */
	readonly hasImage: boolean;
	/** Its driver can freeze and go on. */
	readonly canWarm: boolean;
}

export interface Desired {
	readonly tenants: readonly DesiredTenant[];
	readonly pools: readonly DesiredPool[];
}

/** What work needs from one pool now. */
export interface Demand {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	/** How many instances should be awake, the named ones among them. */
	readonly awake: number;
	/** Instances that must be awake: something waits for exactly these. */
	readonly instances: readonly InstanceId[];
	/** How many instances beyond the desired counts may be created for it. */
	readonly mayCreate: number;
}

export interface ObservedInstance {
	readonly id: InstanceId;
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly state: InstanceState;
	readonly hibernated: boolean;
	/** The kind of the open operation, if any: the instance is left alone then. */
	readonly operation: OperationKind | undefined;
	readonly inhibitors: ReadonlySet<Inhibitor>;
	readonly idleSinceMs: number | undefined;
	readonly enteredRunningAtMs: number | undefined;
	readonly enteredWarmAtMs: number | undefined;
	readonly takenSinceCheckpoint: number;
	readonly lastCheckpointAtMs: number | undefined;
	/** Not started or woken before this moment (after failures). */
	readonly backoffUntilMs: number | undefined;
	/** Awake and answering; of gateways the others wait for it. */
	readonly isHealthy: boolean;
	/** Stays down until a person looks (condition `NeedsAttention`). */
	readonly needsAttention: boolean;
}

/** Why something is done. */
export type ActionReason =
	/** Work waits for it. */
	| 'demand'
	| 'running_floor'
	| 'warm_floor'
	/** A new instance is booted once: restored, health-checked, registered; policy then puts it to sleep. */
	| 'first_boot'
	/** Idle for as long as the pool's sleep policy says. */
	| 'idle'
	/** Awake and idle for long, with messages that no checkpoint holds yet. */
	| 'awake_checkpoint'
	/** Idle, and its tenant's quota is needed by work that waits. */
	| 'make_room'
	| 'tenant_suspended';

interface Where {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
}
export type Action = Where & { readonly reason: ActionReason } & (
		| /** Create a new instance and start it. */ { readonly kind: 'create' }
		| { readonly kind: 'start' | 'wake' | 'warm' | 'sleep' | 'checkpoint'; readonly instanceId: InstanceId }
	);
export type ActionKind = Action['kind'];

/** Why something that is wanted is not done. */
export type DeferralCode =
	| Deferral
	| 'back_off'
	| 'needs_attention'
	| 'no_image'
	| 'quota'
	| 'no_instance'
	| 'tenant_suspended'
	| 'gateway_not_ready'
	| 'operation_in_progress'
	| 'unknown_pool';
export interface DeferredAction extends Where {
	/** Absent where no instance was chosen. */
	readonly instanceId?: InstanceId;
	readonly wanted: ActionKind;
	readonly code: DeferralCode;
	/** For people; exact figures where a quota says no. */
	readonly detail?: string;
}

export interface Plan {
	/** In the order in which they may be begun: up in the order of roles, then down in reverse. Within a tenant at least. */
	readonly actions: readonly Action[];
	readonly deferred: readonly DeferredAction[];
	/** When time alone may change the plan; undefined where only an event can. */
	readonly nextCheckAtMs: number | undefined;
}

/** The plan as lines for people; the dry run prints exactly what would be done. */
export function printPlan(plan: Plan): string[] {
	const where = (a: Where & { readonly instanceId?: InstanceId }): string =>
		`${a.tenantId}/${a.poolId}${a.instanceId === undefined ? '' : `/${a.instanceId}`}`;
	return [
		...plan.actions.map((a) => `${a.kind} ${where(a)} (${a.reason})`),
		...plan.deferred.map((d) => `not now: ${d.wanted} ${where(d)} (${d.code}${d.detail === undefined ? '' : `: ${d.detail}`})`),
	];
}
