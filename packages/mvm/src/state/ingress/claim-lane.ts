// Claims the head of one lane for delivery: one caller wins, everybody else gets undefined. The claim moves the row's own
// next_attempt_at past the delivery's deadline, so a deliverer that dies gives the message back by itself.
import type { PoolId, TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { Lane } from './due-lanes.ts';

export interface ClaimedMessage {
	readonly id: number;
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly channel: string;
	readonly eventId: string;
	readonly orderKey: string;
	readonly path: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: Uint8Array;
	readonly traceId: string;
	/** Counts this delivery: 1 at the first. */
	readonly attempts: number;
	readonly receivedAtMs: number;
}

interface Row extends Omit<ClaimedMessage, 'id' | 'receivedAtMs' | 'body'> {
	readonly id: string | number;
	readonly body: Uint8Array | null;
	readonly receivedAt: Date;
}

/** Undefined when the lane is empty, its head is not due yet, or another deliverer has it. */
export async function claimLane(
	tx: Tx,
	input: { readonly lane: Lane; readonly claim: string; readonly leaseMs: number },
): Promise<ClaimedMessage | undefined> {
	const { lane } = input;
	const result = await sql<Row>`
		update ingress_message
		set attempts = attempts + 1, claimed_by = ${input.claim},
			next_attempt_at = now() + ${input.leaseMs}::double precision * interval '1 millisecond'
		where id = (
			select id from ingress_message
			where state = 'pending' and tenant_id = ${lane.tenantId} and pool_id = ${lane.poolId}
				and channel = ${lane.channel} and order_key = ${lane.orderKey}
			order by id limit 1
		) and state = 'pending' and next_attempt_at <= now()
		returning id, tenant_id, pool_id, channel, event_id, order_key, path, headers, body, trace_id, attempts, received_at
	`.execute(tx);
	const row = result.rows[0];
	if (row === undefined) return undefined;
	const { receivedAt, body, ...rest } = row;
	return { ...rest, id: Number(row.id), body: body ?? new Uint8Array(), receivedAtMs: receivedAt.getTime() };
}
