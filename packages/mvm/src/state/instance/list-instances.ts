// Reads instances: one, those of a tenant or pool, or all that are not destroyed.
import type { InstanceId, PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { InstanceRow } from './row.ts';

/** Undefined when there is none or the transaction's tenant may not see it. */
export async function getInstance(tx: Tx, id: InstanceId): Promise<InstanceRow | undefined> {
	const { rows } = await sql<InstanceRow>`select * from instance where id = ${id}`.execute(tx);
	return rows[0];
}

/** In order of creation; destroyed ones are left out. */
export async function listInstances(
	tx: Tx,
	filter: { readonly tenantId?: TenantId; readonly poolId?: PoolId } = {},
): Promise<readonly InstanceRow[]> {
	const { rows } = await sql<InstanceRow>`
		select * from instance where state <> 'destroyed'
			and (${filter.tenantId ?? null}::text is null or tenant_id = ${filter.tenantId ?? null})
			and (${filter.poolId ?? null}::text is null or pool_id = ${filter.poolId ?? null})
		order by created_at, id`.execute(tx);
	return rows;
}
