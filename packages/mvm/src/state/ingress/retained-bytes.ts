// Sums what a tenant's messages hold on disk. Called by the accept path when its own estimate nears the limit.
import type { TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

/** Bytes of bodies that wait for delivery, for a checkpoint, or as dead letters. */
export async function retainedBytes(tx: Tx, tenantId: TenantId): Promise<number> {
	const result = await sql<{ bytes: string | number }>`
		select coalesce(sum(body_bytes), 0) as bytes from ingress_message
		where tenant_id = ${tenantId} and state in ('pending', 'taken', 'dead')
	`.execute(tx);
	return Number(result.rows[0]?.bytes ?? 0);
}
