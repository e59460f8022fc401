// Reads messages for people: lists, one message, and the counts behind the metrics. Bodies leave only through `readMessage`.
import type { InstanceId, PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

export type IngressMessageState = 'pending' | 'taken' | 'settled' | 'dead';

export interface IngressMessage {
	readonly id: number;
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly channel: string;
	readonly eventId: string;
	readonly orderKey: string;
	/** Null until an instance took it. */
	readonly instanceId: InstanceId | null;
	readonly state: IngressMessageState;
	readonly path: string;
	readonly bodyBytes: number;
	readonly receivedAt: Date;
	readonly attempts: number;
	readonly nextAttemptAt: Date;
	readonly takenAt: Date | null;
	readonly takenIncarnation: number | null;
	readonly checkpointId: string | null;
	readonly lastError: string | null;
	readonly traceId: string;
}

export interface IngressMessageDetail extends IngressMessage {
	readonly headers: Readonly<Record<string, string>>;
	/** Null once settled and contained in more than one checkpoint. */
	readonly body: Uint8Array | null;
}

const COLUMNS = sql`id, tenant_id, pool_id, channel, event_id, order_key, instance_id, state, path, body_bytes, received_at,
	attempts, next_attempt_at, taken_at, taken_incarnation, checkpoint_id, last_error, trace_id`;

const typed = <Row extends IngressMessage>(row: Row): Row => ({
	...row,
	id: Number(row.id),
	takenIncarnation: row.takenIncarnation === null ? null : Number(row.takenIncarnation),
});

/** Newest first; `beforeId` pages. */
export async function listMessages(
	tx: Tx,
	input: {
		readonly tenantId: TenantId;
		readonly state?: IngressMessageState | undefined;
		readonly poolId?: PoolId | undefined;
		readonly channel?: string | undefined;
		readonly beforeId?: number | undefined;
		readonly limit: number;
	},
): Promise<IngressMessage[]> {
	const result = await sql<IngressMessage>`
		select ${COLUMNS} from ingress_message
		where tenant_id = ${input.tenantId}
			and (${input.state ?? null}::text is null or state = ${input.state ?? null})
			and (${input.poolId ?? null}::text is null or pool_id = ${input.poolId ?? null})
			and (${input.channel ?? null}::text is null or channel = ${input.channel ?? null})
			and (${input.beforeId ?? null}::bigint is null or id < ${input.beforeId ?? null})
		order by id desc limit ${input.limit}
	`.execute(tx);
	return result.rows.map(typed);
}

/** Undefined when the tenant has no such message. */
export async function readMessage(
	tx: Tx,
	input: { readonly tenantId: TenantId; readonly id: number },
): Promise<IngressMessageDetail | undefined> {
	const result = await sql<IngressMessageDetail>`
		select ${COLUMNS}, headers, body from ingress_message where tenant_id = ${input.tenantId} and id = ${input.id}
	`.execute(tx);
	const row = result.rows[0];
	return row === undefined ? undefined : typed(row);
}

/** Messages by state over all tenants, for the metrics. */
export async function countMessages(tx: Tx): Promise<{ state: IngressMessageState; messages: number; bytes: number }[]> {
	const result = await sql<{ state: IngressMessageState; messages: string; bytes: string }>`
		select state, count(*) as messages, sum(body_bytes) as bytes from ingress_message
		where state in ('pending', 'taken', 'dead') group by state
	`.execute(tx);
	return result.rows.map((row) => ({ state: row.state, messages: Number(row.messages), bytes: Number(row.bytes) }));
}
