// Inserts a tenant. Run by the control API inside asTenant(id), so that even this insert is bound to the one tenant.
import { MvmError, Quotas, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { sqlState, UNIQUE_VIOLATION } from '../pg-error.ts';
import { json } from '../tables.ts';
import { type TenantRow, toTenantRow } from './row.ts';

/** Throws ALREADY_EXISTS. */
export async function createTenant(tx: Tx, input: { readonly id: TenantId; readonly quotas: Quotas }): Promise<TenantRow> {
	try {
		const row = await tx
			.insertInto('tenant')
			.values({ id: input.id, quotas: json(Quotas.encode(input.quotas)) })
			.returningAll()
			.executeTakeFirstOrThrow();
		return toTenantRow(row);
	} catch (error) {
		if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
		throw new MvmError('ALREADY_EXISTS', `tenant ${input.id} exists already`, { details: { tenant_id: input.id } });
	}
}
