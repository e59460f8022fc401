// Makes the rows true again after a crash: claims of dead deliverers are given back, settlements and returns that were
// missed are made up for. Called when delivery starts, by its slow sweep, and for a lane that the store's absence broke off.
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { Lane } from './due-lanes.ts';

/** Gives back every open claim but the caller's own. Only while no other deliverer runs. Returns the messages' ids. */
export async function releaseClaims(tx: Tx, input: { readonly but: string }): Promise<number[]> {
	const result = await sql<{ id: string | number }>`
		update ingress_message set claimed_by = null, next_attempt_at = now(), last_error = 'the platform stopped during delivery'
		where state = 'pending' and claimed_by <> ${input.but}
		returning id
	`.execute(tx);
	return result.rows.map((row) => Number(row.id));
}

/** Gives back what the caller holds of one lane; nothing of it may be in delivery any more. */
export async function releaseLane(tx: Tx, input: { readonly lane: Lane; readonly claim: string }): Promise<number> {
	const { lane } = input;
	const result = await sql`
		update ingress_message set claimed_by = null, next_attempt_at = now(), last_error = 'the store went away during delivery'
		where state = 'pending' and claimed_by = ${input.claim} and tenant_id = ${lane.tenantId} and pool_id = ${lane.poolId}
			and channel = ${lane.channel} and order_key = ${lane.orderKey}
		returning id
	`.execute(tx);
	return result.rows.length;
}

/** Settles what the instance's current good checkpoint contains, and returns what a destroyed instance had taken. */
export async function makeUpMissed(tx: Tx): Promise<{ settled: number; returned: number }> {
	const settled = await sql`
		update ingress_message m set state = 'settled', checkpoint_id = c.id
		from instance i join checkpoint c on c.id = i.checkpoint_id
		where m.state = 'taken' and i.id = m.instance_id and c.state = 'good' and c.frozen_at >= m.taken_at
		returning m.id
	`.execute(tx);
	const returned = await sql`
		update ingress_message m
		set state = 'pending', instance_id = null, taken_at = null, taken_incarnation = null, attempts = 0,
			next_attempt_at = now(), last_error = 'the instance was destroyed before a checkpoint contained the message'
		where m.state = 'taken' and not exists (select 1 from instance i where i.id = m.instance_id and i.state <> 'destroyed')
		returning m.id
	`.execute(tx);
	return { settled: settled.rows.length, returned: returned.rows.length };
}
