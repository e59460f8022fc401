// Reads events after a cursor, for the event stream and the instance pages.
import type { InstanceId, PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

export interface EventRow {
	readonly id: number;
	readonly tenantId: TenantId;
	readonly poolId: PoolId | null;
	readonly instanceId: InstanceId | null;
	readonly kind: string;
	readonly detail: Readonly<Record<string, unknown>>;
	readonly traceId: string | null;
	readonly at: Date;
}

export interface EventFilter {
	readonly tenantId?: TenantId | undefined;
	readonly poolId?: PoolId | undefined;
	readonly instanceId?: InstanceId | undefined;
	/** Only events with a greater id. */
	readonly afterId?: number | undefined;
	readonly limit: number;
}

/** Oldest first. With `afterId` the next ones after it; without, the newest `limit`. */
export async function listEvents(tx: Tx, filter: EventFilter): Promise<readonly EventRow[]> {
	let query = tx.selectFrom('event').selectAll().limit(filter.limit);
	if (filter.tenantId !== undefined) query = query.where('tenantId', '=', filter.tenantId);
	if (filter.poolId !== undefined) query = query.where('poolId', '=', filter.poolId);
	if (filter.instanceId !== undefined) query = query.where('instanceId', '=', filter.instanceId);
	if (filter.afterId !== undefined) return query.where('id', '>', filter.afterId).orderBy('id').execute();
	return (await query.orderBy('id', 'desc').execute()).reverse();
}

/** The id after which a new follower starts; 0 when there is no event. */
export async function newestEventId(tx: Tx): Promise<number> {
	const { rows } = await sql<{ id: number | null }>`select max(id) as id from event`.execute(tx);
	return rows[0]?.id ?? 0;
}

/** Retention; returns how many went. */
export async function deleteEventsBefore(tx: Tx, before: Date): Promise<number> {
	const result = await tx.deleteFrom('event').where('at', '<', before).executeTakeFirst();
	return Number(result.numDeletedRows);
}
