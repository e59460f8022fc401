// Closes an operation and moves its instance in one statement.
import { type InstanceId, MvmError, type OperationId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { InstanceRow } from './row.ts';
import { type InstancePatch, patchAssignments } from './update-instance.ts';

export interface FinishInput {
	readonly operationId: OperationId;
	readonly instanceId: InstanceId;
	readonly outcome: string;
	readonly error?: { readonly code: string; readonly message: string } | undefined;
	readonly detail?: Readonly<Record<string, unknown>>;
	readonly patch: InstancePatch;
}

/** Returns the instance after the change; a repetition changes nothing. Throws CONFLICT when it was closed in another way. */
export async function finishOperation(tx: Tx, input: FinishInput): Promise<InstanceRow> {
	const { rows } = await sql<InstanceRow>`
		with closed as (
			update operation set finished_at = now(), updated_at = now(), outcome = ${input.outcome},
				error = ${input.error === undefined ? null : JSON.stringify(input.error)}::jsonb,
				detail = detail || ${JSON.stringify(input.detail ?? {})}::jsonb
			where id = ${input.operationId} and finished_at is null returning instance_id
		)
		update instance set ${patchAssignments(input.patch)} from closed where instance.id = closed.instance_id returning instance.*`.execute(
		tx,
	);
	const row = rows[0] ?? (await finishedAlike(tx, input));
	if (row === undefined)
		throw new MvmError('CONFLICT', `operation ${input.operationId} of ${input.instanceId} is already finished`);
	return row;
}

/** A commit whose answer was lost: the same end is written already. */
async function finishedAlike(tx: Tx, input: FinishInput): Promise<InstanceRow | undefined> {
	const { rows } = await sql<InstanceRow>`
		select instance.* from instance join operation on operation.instance_id = instance.id
		where operation.id = ${input.operationId} and operation.outcome = ${input.outcome}`.execute(tx);
	return rows[0];
}
