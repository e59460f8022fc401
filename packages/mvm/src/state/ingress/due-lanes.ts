// Finds the lanes (tenant, pool, channel, order key) whose head may be delivered now. Called by the delivery loop.
// A lane whose head waits, or is being delivered elsewhere, is not due: within a lane nothing overtakes.
import type { PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

export interface Lane {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly channel: string;
	readonly orderKey: string;
}

export interface DueLanes {
	readonly lanes: readonly Lane[];
	/** Milliseconds until the next head that is not due yet; undefined when there is none. */
	readonly nextDueInMs: number | undefined;
}

interface Row extends Lane {
	readonly waitMs: string | number;
}

/**
 * At most `perTenant` lanes of one tenant, longest waiting first, without suspended tenants. Skips along the partial
 * index from lane to lane, so the cost grows with the lanes and not with the messages.
 */
export async function dueLanes(tx: Tx, input: { readonly limit: number; readonly perTenant: number }): Promise<DueLanes> {
	const result = await sql<Row>`
		with recursive head as (
			(
				select id, tenant_id, pool_id, channel, order_key, next_attempt_at from ingress_message
				where state = 'pending'
				order by tenant_id, pool_id, channel, order_key, id limit 1
			)
			union all
			select next.* from head cross join lateral (
				select m.id, m.tenant_id, m.pool_id, m.channel, m.order_key, m.next_attempt_at from ingress_message m
				where m.state = 'pending'
					and (m.tenant_id, m.pool_id, m.channel, m.order_key)
						> (head.tenant_id, head.pool_id, head.channel, head.order_key)
				order by m.tenant_id, m.pool_id, m.channel, m.order_key, m.id limit 1
			) next
		), ranked as (
			select head.*, row_number() over (
				partition by head.tenant_id, head.next_attempt_at > now() order by head.next_attempt_at, head.id
			) as place
			from head join tenant on tenant.id = head.tenant_id
			where tenant.suspended_at is null
		)
		select tenant_id, pool_id, channel, order_key,
			greatest(0, extract(epoch from next_attempt_at - now()) * 1000) as wait_ms
		from ranked where place <= ${input.perTenant}
		order by next_attempt_at, id
		limit ${input.limit}
	`.execute(tx);
	const lanes: Lane[] = [];
	let nextDueInMs: number | undefined;
	for (const { waitMs, ...lane } of result.rows) {
		const wait = Number(waitMs);
		if (wait > 0) nextDueInMs = Math.min(nextDueInMs ?? wait, wait);
		else lanes.push(lane);
	}
	return { lanes, nextDueInMs };
}
