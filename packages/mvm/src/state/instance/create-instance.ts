// Inserts a new instance row in state `created`.
import type { InstanceId, PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { InstanceRow } from './row.ts';

/** The caller has checked quota in the same transaction. */
export async function createInstance(
	tx: Tx,
	input: { readonly id: InstanceId; readonly tenantId: TenantId; readonly poolId: PoolId },
): Promise<InstanceRow> {
	const { rows } = await sql<InstanceRow>`
		insert into instance (id, tenant_id, pool_id, state) values (${input.id}, ${input.tenantId}, ${input.poolId}, 'created') returning *`.execute(
		tx,
	);
	const [row] = rows;
	if (row === undefined) throw new Error('insert returned no row');
	return row;
}
