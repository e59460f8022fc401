// Stores a flush of inbound messages in one statement. Called by the accept path's batcher; the caller answers 2xx only
// after the surrounding transaction committed.
import type { PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

/** Channel on which a flush announces itself to every delivery loop on this database. */
export const INGRESS_NOTIFY_CHANNEL = 'mvm_ingress';

export interface NewIngressMessage {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly channel: string;
	readonly eventId: string;
	/** Empty: the channel's common lane. */
	readonly orderKey: string;
	/** What followed the channel in the URL, query included; empty or starts with `/` or `?`. */
	readonly path: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: Uint8Array;
	/** 32 hex digits. */
	readonly traceId: string;
}

/** The new row's id per message, in order; undefined where the event was already known. */
export async function insertMessages(tx: Tx, messages: readonly NewIngressMessage[]): Promise<(number | undefined)[]> {
	const texts = (pick: (message: NewIngressMessage) => string): string[] => messages.map(pick);
	const ords = messages.map((_, at) => at);
	const bodies = messages.map((message) => Buffer.from(message.body));
	const result = await sql<{ ord: number; id: string | number | null }>`
		with input as (
			select * from unnest(
				${ords}::int[], ${texts((m) => m.tenantId)}::text[], ${texts((m) => m.poolId)}::text[],
				${texts((m) => m.channel)}::text[], ${texts((m) => m.eventId)}::text[], ${texts((m) => m.orderKey)}::text[],
				${texts((m) => m.path)}::text[], ${texts((m) => JSON.stringify(m.headers))}::text[], ${bodies}::bytea[],
				${texts((m) => m.traceId)}::text[]
			) as u (ord, tenant_id, pool_id, channel, event_id, order_key, path, headers, body, trace_id)
		), stored as (
			insert into ingress_message
				(tenant_id, pool_id, channel, event_id, order_key, path, headers, body, body_bytes, trace_id)
			select tenant_id, pool_id, channel, event_id, order_key, path, headers::jsonb, body, octet_length(body), trace_id
			from input order by ord
			on conflict (tenant_id, pool_id, channel, event_id) do nothing
			returning id, tenant_id, pool_id, channel, event_id
		)
		select input.ord, stored.id,
			case when input.ord = 0 then pg_notify(${INGRESS_NOTIFY_CHANNEL}, '')::text end as announced
		from input left join stored using (tenant_id, pool_id, channel, event_id)
		order by input.ord
	`.execute(tx);
	const known = new Set<string>();
	return result.rows.map((row) => {
		if (row.id === null) return undefined;
		const id = String(row.id);
		if (known.has(id)) return undefined; // the same event twice in one flush: the first one is the new one
		known.add(id);
		return Number(id);
	});
}
