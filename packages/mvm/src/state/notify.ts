// Sends a notification that is delivered when the transaction commits.
import { sql } from 'kysely';
import type { Tx } from './database.ts';

/**
 * Postgres serialises the commits of all transactions that notify, so this belongs on rare changes, not on the path of
 * every accepted message. At most 7,999 bytes of payload.
 */
export async function notify(tx: Tx, channel: string, payload: string): Promise<void> {
	await sql`select pg_notify(${channel}, ${payload})`.execute(tx);
}
