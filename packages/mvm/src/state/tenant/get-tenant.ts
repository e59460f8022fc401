// Reads one tenant or all of them.
import { MvmError, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { type TenantRow, toTenantRow } from './row.ts';

/** Undefined when there is none or the transaction may not see it. */
export async function findTenant(tx: Tx, id: TenantId): Promise<TenantRow | undefined> {
	const row = await tx.selectFrom('tenant').selectAll().where('id', '=', id).executeTakeFirst();
	return row === undefined ? undefined : toTenantRow(row);
}

/** Throws TENANT_NOT_FOUND. */
export async function getTenant(tx: Tx, id: TenantId): Promise<TenantRow> {
	const row = await findTenant(tx, id);
	if (row === undefined) throw tenantNotFound(id);
	return row;
}

/** By id. */
export async function listTenants(tx: Tx): Promise<readonly TenantRow[]> {
	return (await tx.selectFrom('tenant').selectAll().orderBy('id').execute()).map(toTenantRow);
}

export function tenantNotFound(id: TenantId): MvmError {
	return new MvmError('TENANT_NOT_FOUND', `there is no tenant ${id}`, {
		details: { tenant_id: id },
		hint: 'mvm tenant list shows them',
	});
}
