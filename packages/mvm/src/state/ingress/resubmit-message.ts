// Sends a dead letter round again. Called for a person through the API; the attempts start over.
import type { TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import { INGRESS_NOTIFY_CHANNEL } from './insert-messages.ts';

/** False when the tenant has no dead letter of that id. */
export async function resubmitMessage(tx: Tx, input: { readonly tenantId: TenantId; readonly id: number }): Promise<boolean> {
	const result = await sql`
		update ingress_message set state = 'pending', attempts = 0, next_attempt_at = now(), claimed_by = null
		where tenant_id = ${input.tenantId} and id = ${input.id} and state = 'dead' and body is not null
		returning pg_notify(${INGRESS_NOTIFY_CHANNEL}, '')
	`.execute(tx);
	return result.rows.length === 1;
}
