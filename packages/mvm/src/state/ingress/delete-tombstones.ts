// Removes what is left of messages that were settled long ago. Until then their rows tell a repeated event from a new one.
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

/** Only rows whose body was given up; at most `limit` in one unit. Returns how many went. */
export async function deleteTombstones(tx: Tx, input: { readonly before: Date; readonly limit: number }): Promise<number> {
	const result = await sql`
		delete from ingress_message where id in (
			select id from ingress_message
			where state = 'settled' and body is null and received_at < ${input.before}
			order by id limit ${input.limit}
		)
		returning id
	`.execute(tx);
	return result.rows.length;
}
