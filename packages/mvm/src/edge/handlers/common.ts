// What all handlers share: whose rows a principal sees, finding an instance through that, audit in the transaction of the
// act, and pages.
import { type InstanceId, MvmError, type PoolId, parseInstanceId, type TenantId } from '@mvm/protocol';
import { appendAudit, appendEvent, listPools, PLATFORM_CHAIN, type Tx } from '../../state/index.ts';
import type { ApiContext } from '../api-types.ts';
import type { ControlDeps, InstanceFacts } from '../control-deps.ts';
import { type Principal, requirePermission } from '../principal.ts';

/** Runs a unit as the principal: a tenant's key sees its tenant's rows and no others. */
export function asPrincipal<T>(deps: ControlDeps, principal: Principal, run: (tx: Tx) => Promise<T>): Promise<T> {
	return principal.role === 'operator' ? deps.db.asSystem(run) : deps.db.asTenant(principal.tenantId, run);
}

/** Throws INSTANCE_NOT_FOUND, also for another tenant's instance. */
export async function visibleInstance(deps: ControlDeps, principal: Principal, text: string): Promise<InstanceFacts> {
	const id = parseInstanceId(text);
	const row = await asPrincipal(deps, principal, (tx) => deps.instances.get(tx, id));
	if (row === undefined || row.state === 'destroyed') throw instanceNotFound(id);
	return row;
}

export function instanceNotFound(id: InstanceId): MvmError {
	return new MvmError('INSTANCE_NOT_FOUND', `there is no instance ${id}`, {
		details: { instance_id: id },
		hint: 'mvm instance list shows them',
	});
}

export interface Act {
	/** Undefined: an act of the platform's operator that belongs to no tenant. */
	readonly tenantId: TenantId | undefined;
	/** `noun.verb`. */
	readonly action: string;
	readonly target: string;
	readonly detail?: Readonly<Record<string, unknown>>;
}

/** Writes the audit record and, for a tenant, the event of an act, in the act's own transaction. Call it last in it. */
export async function recordAct(deps: ControlDeps, tx: Tx, context: ApiContext, act: Act): Promise<void> {
	const { tenantId, action: kind, detail } = act;
	if (tenantId !== undefined)
		await appendEvent(tx, { tenantId, kind, detail: { target: act.target, ...detail }, traceId: context.traceId });
	await auditAct(deps, tx, context, act);
}

/** The audit record alone, for acts whose event somebody else writes: lifecycle, when the operation ends. */
export async function auditAct(deps: ControlDeps, tx: Tx, context: ApiContext, act: Act): Promise<void> {
	const { tenantId } = act;
	await appendAudit(tx, {
		tenantId: tenantId ?? PLATFORM_CHAIN,
		at: new Date(deps.clock.now()),
		actor: context.principal.actor,
		action: act.action,
		target: act.target,
		outcome: 'ok',
		detail: act.detail,
		traceId: context.traceId,
	});
}

const MAX_ROUNDS = 10;

/** Destroys what is there and what was being made meanwhile; the caller has seen to it that nothing new is begun. */
export async function destroyInstances(
	deps: ControlDeps,
	context: ApiContext,
	of: { readonly tenantId: TenantId; readonly poolId?: PoolId },
): Promise<void> {
	const { traceId, signal } = context;
	for (let round = 0; round < MAX_ROUNDS; round += 1) {
		const left = await deps.db.asTenant(of.tenantId, (tx) => deps.instances.list(tx, of));
		if (left.length === 0) return;
		for (const one of left) await deps.actions.destroy(one.id, { reason: 'operator', forced: true, traceId, signal });
	}
}

/** Throws CONFLICT when two pools of the tenant declare the same channel: its address would lead to either. */
export async function refuseSharedChannels(tx: Tx, tenantId: TenantId): Promise<void> {
	const owners = new Map<string, string>();
	for (const pool of await listPools(tx, { tenantId })) {
		for (const { channel } of pool.spec.ingress) {
			const other = owners.get(channel);
			if (other !== undefined) {
				throw new MvmError('CONFLICT', `channel ${channel} is declared by pool ${other} and by pool ${pool.id}`, {
					hint: 'a channel is unique in its tenant: rename one of the two',
				});
			}
			owners.set(channel, pool.id);
		}
	}
}

/** For requests that name a tenant in their body. */
export function requireTenant(context: ApiContext, tenantId: TenantId): void {
	requirePermission(context.principal, 'tenant', tenantId);
}

const DEFAULT_LIMIT = 100;
export const limitOf = (limit: string | undefined): number => (limit === undefined ? DEFAULT_LIMIT : Number(limit));
export const cursorOf = (after: string | undefined): number | undefined => (after === undefined ? undefined : Number(after));

/** A page with the cursor of the next one when this one is full. */
export function page<Row, View>(
	rows: readonly Row[],
	limit: number,
	view: (row: Row) => View,
	cursor: (row: Row) => number,
): { readonly items: View[]; readonly next: string | null } {
	const last = rows.at(-1);
	return { items: rows.map(view), next: last !== undefined && rows.length === limit ? String(cursor(last)) : null };
}
