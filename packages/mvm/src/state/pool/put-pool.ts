// Creates a pool or replaces its specification; a specification that is there already changes nothing.
import { MvmError, PoolSpec, type TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import { FOREIGN_KEY_VIOLATION, sqlState } from '../pg-error.ts';
import { json } from '../tables.ts';
import { tenantNotFound } from '../tenant/get-tenant.ts';
import { findPool } from './get-pool.ts';
import { type PoolRow, toPoolRow } from './row.ts';

export interface PutPoolInput {
	readonly tenantId: TenantId;
	readonly spec: PoolSpec;
	/** 0: the pool must not exist yet. Absent: whatever is there is replaced. */
	readonly expectedVersion?: number;
}

export interface PutPoolResult {
	readonly change: 'created' | 'updated' | 'unchanged';
	readonly pool: PoolRow;
}

/** Throws TENANT_NOT_FOUND, and CONFLICT when `expectedVersion` is not the present one or the role would change. */
export async function putPool(tx: Tx, input: PutPoolInput): Promise<PutPoolResult> {
	const { tenantId, spec, expectedVersion } = input;
	const key = { tenantId, id: spec.id };
	const text = json(PoolSpec.encode(spec));
	const inserted = await insert(tx, key, text);
	if (inserted !== undefined) {
		if (expectedVersion !== undefined && expectedVersion !== 0) throw conflict(key, 'it does not exist', expectedVersion);
		return { change: 'created', pool: inserted };
	}
	const present = await findPool(tx, key);
	if (present === undefined) throw conflict(key, 'it was removed meanwhile', expectedVersion);
	if (expectedVersion !== undefined && expectedVersion !== present.configVersion)
		throw conflict(key, 'it was changed by somebody else', expectedVersion, present.configVersion);
	if (present.spec.role !== spec.role) throw conflict(key, `its role is ${present.spec.role} and stays so`, expectedVersion);
	const updated = await tx
		.updateTable('pool')
		.set({ spec: text, configVersion: sql`config_version + 1`, updatedAt: sql`now()` })
		.where('tenantId', '=', tenantId)
		.where('id', '=', spec.id)
		.where('configVersion', '=', present.configVersion)
		.where(sql<boolean>`spec is distinct from ${text}::jsonb`)
		.returningAll()
		.executeTakeFirst();
	if (updated !== undefined) return { change: 'updated', pool: toPoolRow(updated) };
	const after = await findPool(tx, key);
	if (after?.configVersion !== present.configVersion) throw conflict(key, 'it was changed by somebody else', expectedVersion);
	return { change: 'unchanged', pool: after };
}

async function insert(
	tx: Tx,
	key: { readonly tenantId: TenantId; readonly id: PoolSpec['id'] },
	spec: string,
): Promise<PoolRow | undefined> {
	try {
		const row = await tx
			.insertInto('pool')
			.values({ ...key, spec })
			.onConflict((conflict) => conflict.columns(['tenantId', 'id']).doNothing())
			.returningAll()
			.executeTakeFirst();
		return row === undefined ? undefined : toPoolRow(row);
	} catch (error) {
		if (sqlState(error) === FOREIGN_KEY_VIOLATION) throw tenantNotFound(key.tenantId);
		throw error;
	}
}

function conflict(
	key: { readonly tenantId: TenantId; readonly id: PoolSpec['id'] },
	why: string,
	expectedVersion: number | undefined,
	configVersion?: number,
): MvmError {
	return new MvmError('CONFLICT', `pool ${key.tenantId}/${key.id} cannot be changed so: ${why}`, {
		details: { tenant_id: key.tenantId, pool_id: key.id, expected_version: expectedVersion, config_version: configVersion },
		hint: 'read it again and repeat the change',
	});
}
