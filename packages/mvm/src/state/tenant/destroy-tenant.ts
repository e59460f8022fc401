// Removes a tenant and everything it had in the store but its audit trail. Blobs are dropped by the caller afterwards.
import { MvmError, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { tenantNotFound } from './get-tenant.ts';

/**
 * Throws TENANT_NOT_FOUND, and CONFLICT (naming up to ten) while an instance is not destroyed. The tenant's row is locked
 * first, so no instance can appear meanwhile.
 */
export async function destroyTenant(tx: Tx, id: TenantId): Promise<void> {
	const locked = await tx.selectFrom('tenant').select('id').where('id', '=', id).forUpdate().executeTakeFirst();
	if (locked === undefined) throw tenantNotFound(id);
	await tx.selectFrom('pool').select('id').where('tenantId', '=', id).forUpdate().execute();
	const live = await tx
		.selectFrom('instance')
		.select('id')
		.where('tenantId', '=', id)
		.where('state', '<>', 'destroyed')
		.orderBy('id')
		.execute();
	if (live.length > 0) {
		throw new MvmError('CONFLICT', `tenant ${id} still has ${live.length} instances`, {
			details: { tenant_id: id, instances: live.slice(0, 10).map((row) => row.id), count: live.length },
			hint: 'destroy them first: mvm instance destroy <id>',
		});
	}
	await tx.deleteFrom('instance').where('tenantId', '=', id).execute();
	await tx.deleteFrom('idempotency').where('tenantId', '=', id).execute();
	await tx.deleteFrom('tenant').where('id', '=', id).execute();
}
