// Removes a pool with the rows of its destroyed instances.
import { MvmError, type PoolId, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { poolNotFound } from './get-pool.ts';

/** Throws POOL_NOT_FOUND, and CONFLICT (naming up to ten) while an instance of it is not destroyed. */
export async function destroyPool(tx: Tx, key: { readonly tenantId: TenantId; readonly id: PoolId }): Promise<void> {
	const { tenantId, id } = key;
	const locked = await tx
		.selectFrom('pool')
		.select('id')
		.where('tenantId', '=', tenantId)
		.where('id', '=', id)
		.forUpdate()
		.executeTakeFirst();
	if (locked === undefined) throw poolNotFound(key);
	const live = await tx
		.selectFrom('instance')
		.select('id')
		.where('tenantId', '=', tenantId)
		.where('poolId', '=', id)
		.where('state', '<>', 'destroyed')
		.orderBy('id')
		.execute();
	if (live.length > 0) {
		throw new MvmError('CONFLICT', `pool ${tenantId}/${id} still has ${live.length} instances`, {
			details: { tenant_id: tenantId, pool_id: id, instances: live.slice(0, 10).map((row) => row.id), count: live.length },
			hint: 'destroy them first: mvm instance destroy <id>',
		});
	}
	await tx.deleteFrom('instance').where('tenantId', '=', tenantId).where('poolId', '=', id).execute();
	await tx.deleteFrom('pool').where('tenantId', '=', tenantId).where('id', '=', id).execute();
}
