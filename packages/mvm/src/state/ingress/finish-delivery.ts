// Ends a claimed delivery: taken with proof, or back to waiting, or dead. Each changes the row only while the caller's
// claim still stands, so a deliverer that was too slow cannot overwrite what another one found out.
import type { InstanceId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

interface Claim {
	readonly id: number;
	readonly claim: string;
}

/** The instance proved that it has the message. False when the claim was lost (the message will be delivered again). */
export async function markTaken(
	tx: Tx,
	input: Claim & { readonly instanceId: InstanceId; readonly incarnation: number; readonly takenAtMs: number },
): Promise<boolean> {
	const result = await sql`
		update ingress_message
		set state = 'taken', claimed_by = null, last_error = null, instance_id = ${input.instanceId},
			taken_at = ${new Date(input.takenAtMs)}, taken_incarnation = ${input.incarnation}
		where id = ${input.id} and state = 'pending' and claimed_by = ${input.claim}
		returning id
	`.execute(tx);
	return result.rows.length === 1;
}

/** Delivery failed: waits `delayMs` for the next attempt. A parked message's attempt is not counted. */
export async function markWaiting(
	tx: Tx,
	input: Claim & { readonly delayMs: number; readonly error: string; readonly isParked: boolean },
): Promise<boolean> {
	const result = await sql`
		update ingress_message
		set claimed_by = null, last_error = ${input.error}, attempts = attempts - ${input.isParked ? 1 : 0},
			next_attempt_at = now() + ${input.delayMs}::double precision * interval '1 millisecond'
		where id = ${input.id} and state = 'pending' and claimed_by = ${input.claim}
		returning id
	`.execute(tx);
	return result.rows.length === 1;
}

/** No further attempt: kept with its body until somebody resubmits it. */
export async function markDead(tx: Tx, input: Claim & { readonly error: string }): Promise<boolean> {
	const result = await sql`
		update ingress_message set state = 'dead', claimed_by = null, last_error = ${input.error}
		where id = ${input.id} and state = 'pending' and claimed_by = ${input.claim}
		returning id
	`.execute(tx);
	return result.rows.length === 1;
}
