// Journals the step that is about to run, so that recovery knows how far an operation can have come.
import type { OperationId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';

/** Persists `step` (and merges `detail`) before the step acts on the outside. */
export async function stepOperation(
	tx: Tx,
	input: { readonly operationId: OperationId; readonly step: string; readonly detail?: Readonly<Record<string, unknown>> },
): Promise<void> {
	await sql`update operation set step = ${input.step}, detail = detail || ${JSON.stringify(input.detail ?? {})}::jsonb, updated_at = now()
		where id = ${input.operationId} and finished_at is null`.execute(tx);
}
