// Points new boots of a pool at an image revision. Running instances keep theirs until they start cold again.
import type { PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import { poolNotFound } from './get-pool.ts';
import { type PoolRow, toPoolRow } from './row.ts';

/** Throws POOL_NOT_FOUND. */
export async function setPoolImage(
	tx: Tx,
	input: { readonly tenantId: TenantId; readonly id: PoolId; readonly image: string },
): Promise<PoolRow> {
	const row = await tx
		.updateTable('pool')
		.set({ image: input.image, updatedAt: sql`now()` })
		.where('tenantId', '=', input.tenantId)
		.where('id', '=', input.id)
		.returningAll()
		.executeTakeFirst();
	if (row === undefined) throw poolNotFound(input);
	return toPoolRow(row);
}
