// Reads the journal: every unfinished operation (for recovery), or the history of one instance.
import type { InstanceId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { OperationRow } from './row.ts';

/** All operations that no process has finished; at most one per instance. */
export async function listOpenOperations(tx: Tx): Promise<readonly OperationRow[]> {
	const { rows } = await sql<OperationRow>`select * from operation where finished_at is null order by started_at`.execute(tx);
	return rows;
}

/** Newest first. */
export async function listOperations(tx: Tx, instanceId: InstanceId, limit: number): Promise<readonly OperationRow[]> {
	const { rows } =
		await sql<OperationRow>`select * from operation where instance_id = ${instanceId} order by started_at desc, id desc limit ${limit}`.execute(
			tx,
		);
	return rows;
}
