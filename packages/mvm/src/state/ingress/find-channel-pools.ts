// Finds the pools of a tenant that declare an ingress channel, with the tenant's suspension. Called through a short cache.
import type { PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

export interface ChannelPool {
	readonly poolId: PoolId;
	/** Wire form. */
	readonly spec: unknown;
	readonly isSuspended: boolean;
}

/** By pool id, so that every caller picks the same one; a deploy refuses a second pool with the same channel. */
export async function findChannelPools(
	tx: Tx,
	input: { readonly tenantId: TenantId; readonly channel: string },
): Promise<readonly ChannelPool[]> {
	const wanted = JSON.stringify([{ channel: input.channel }]);
	const result = await sql<ChannelPool>`
		select pool.id as pool_id, pool.spec, tenant.suspended_at is not null as is_suspended
		from pool join tenant on tenant.id = pool.tenant_id
		where pool.tenant_id = ${input.tenantId} and pool.spec -> 'ingress' @> ${wanted}::jsonb
		order by pool.id
	`.execute(tx);
	return result.rows;
}
