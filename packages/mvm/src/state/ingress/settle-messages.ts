// Ties taken messages to the checkpoints that contain them, and takes them back when a checkpoint is fallen back to.
// Called when lifecycle announces a checkpoint or a rollback. All of it is safe to repeat.
import type { InstanceId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

/**
 * Settles what was taken before the checkpoint's freeze. A settled body is kept until every checkpoint that could still be
 * fallen back to contains its message (and one checkpoint longer), so that any fallback finds all there is to deliver again.
 */
export async function settleMessages(
	tx: Tx,
	input: { readonly instanceId: InstanceId; readonly checkpointId: string; readonly frozenAt: Date },
): Promise<number> {
	const settled = await sql`
		update ingress_message set state = 'settled', checkpoint_id = ${input.checkpointId}
		where instance_id = ${input.instanceId} and state = 'taken' and taken_at <= ${input.frozenAt}
		returning id
	`.execute(tx);
	await sql`
		update ingress_message set body = null
		where instance_id = ${input.instanceId} and state = 'settled' and body is not null
			and checkpoint_id <> ${input.checkpointId} and taken_at <= coalesce(
				(select min(c.frozen_at) from checkpoint c where c.instance_id = ${input.instanceId} and c.state = 'good'),
				${input.frozenAt})
	`.execute(tx);
	return settled.rows.length;
}

/** The instance now runs on a checkpoint frozen at `frozenAt`: what it took later is pending again. Returns how many. */
export async function returnMessages(
	tx: Tx,
	input: { readonly instanceId: InstanceId; readonly frozenAt: Date },
): Promise<number> {
	const result = await sql`
		update ingress_message
		set state = 'pending', checkpoint_id = null, taken_at = null, taken_incarnation = null, claimed_by = null,
			attempts = 0, next_attempt_at = now(), last_error = 'the instance fell back to an older checkpoint'
		where instance_id = ${input.instanceId} and taken_at > ${input.frozenAt}
			and (state = 'taken' or (state = 'settled' and body is not null))
		returning id
	`.execute(tx);
	return result.rows.length;
}
