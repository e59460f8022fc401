// Reads one pool, those of a tenant, or all.
import { MvmError, type PoolId, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { type PoolRow, toPoolRow } from './row.ts';

/** Undefined when there is none or the transaction may not see it. */
export async function findPool(tx: Tx, key: { readonly tenantId: TenantId; readonly id: PoolId }): Promise<PoolRow | undefined> {
	const row = await tx
		.selectFrom('pool')
		.selectAll()
		.where('tenantId', '=', key.tenantId)
		.where('id', '=', key.id)
		.executeTakeFirst();
	return row === undefined ? undefined : toPoolRow(row);
}

/** Throws POOL_NOT_FOUND. */
export async function getPool(tx: Tx, key: { readonly tenantId: TenantId; readonly id: PoolId }): Promise<PoolRow> {
	const row = await findPool(tx, key);
	if (row === undefined) throw poolNotFound(key);
	return row;
}

/** By tenant and id. */
export async function listPools(tx: Tx, filter: { readonly tenantId?: TenantId } = {}): Promise<readonly PoolRow[]> {
	let query = tx.selectFrom('pool').selectAll().orderBy('tenantId').orderBy('id');
	if (filter.tenantId !== undefined) query = query.where('tenantId', '=', filter.tenantId);
	return (await query.execute()).map(toPoolRow);
}

export function poolNotFound(key: { readonly tenantId: TenantId; readonly id: PoolId }): MvmError {
	return new MvmError('POOL_NOT_FOUND', `there is no pool ${key.tenantId}/${key.id}`, {
		details: { tenant_id: key.tenantId, pool_id: key.id },
		hint: `mvm pool list ${key.tenantId} shows them`,
	});
}
