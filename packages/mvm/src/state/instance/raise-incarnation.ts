// Starts one more life within an open operation (a thaw after an aborted sleep, a cold boot after a failed thaw).
import { MvmError, type OperationId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

/** Returns the new incarnation; the operation row carries it too, so that recovery knows which life may be alive. */
export async function raiseIncarnation(tx: Tx, operationId: OperationId): Promise<number> {
	const { rows } = await sql<{ incarnation: number }>`
		with i as (
			update instance set incarnation = instance.incarnation + 1, version = version + 1, updated_at = now()
			from operation where operation.id = ${operationId} and operation.finished_at is null and instance.id = operation.instance_id
			returning instance.incarnation
		)
		update operation set incarnation = i.incarnation, updated_at = now() from i where operation.id = ${operationId} returning i.incarnation`.execute(
		tx,
	);
	const [row] = rows;
	if (row === undefined) throw new MvmError('CONFLICT', `operation ${operationId} is already finished`);
	return Number(row.incarnation);
}
