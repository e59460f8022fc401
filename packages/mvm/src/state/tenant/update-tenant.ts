// Changes a tenant's quotas or suspension, and its configVersion with them.
import { MvmError, Quotas, type TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import { json } from '../tables.ts';
import { findTenant, tenantNotFound } from './get-tenant.ts';
import { type TenantRow, toTenantRow } from './row.ts';

export interface TenantPatch {
	readonly quotas?: Quotas;
	/** Null lifts a suspension. */
	readonly suspension?: { readonly at: Date; readonly reason: string } | null;
}

/** Absent fields stay. Throws TENANT_NOT_FOUND, and CONFLICT when `expectedVersion` is not the present one. */
export async function updateTenant(
	tx: Tx,
	input: { readonly id: TenantId; readonly patch: TenantPatch; readonly expectedVersion?: number },
): Promise<TenantRow> {
	const { id, patch, expectedVersion } = input;
	const row = await tx
		.updateTable('tenant')
		.set({
			configVersion: sql`config_version + 1`,
			...(patch.quotas === undefined ? {} : { quotas: json(Quotas.encode(patch.quotas)) }),
			...(patch.suspension === undefined
				? {}
				: { suspendedAt: patch.suspension?.at ?? null, suspendReason: patch.suspension?.reason ?? null }),
		})
		.where('id', '=', id)
		.$if(expectedVersion !== undefined, (query) => query.where('configVersion', '=', expectedVersion ?? 0))
		.returningAll()
		.executeTakeFirst();
	if (row !== undefined) return toTenantRow(row);
	const present = await findTenant(tx, id);
	if (present === undefined) throw tenantNotFound(id);
	throw new MvmError('CONFLICT', `tenant ${id} was changed by somebody else`, {
		details: { tenant_id: id, expected_version: expectedVersion, config_version: present.configVersion },
		hint: 'read it again and repeat the change',
	});
}
