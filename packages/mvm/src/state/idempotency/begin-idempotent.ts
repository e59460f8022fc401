// Remembers requests by their Idempotency-Key, so that a repeated one gets the first one's answer.
import { MvmError, type TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import { json } from '../tables.ts';

export interface IdempotencyKey {
	/** '' for the operator's own requests, inside asSystem. */
	readonly tenantId: TenantId | '';
	readonly key: string;
}

/** `new`: do it, then call finishIdempotent. `running`: the first one has not answered yet. `done`: answer this. */
export type IdempotencyState =
	| { readonly state: 'new' }
	| { readonly state: 'running' }
	| { readonly state: 'done'; readonly status: number; readonly response: unknown };

/** Throws IDEMPOTENCY_MISMATCH when the key was used for another request. */
export async function beginIdempotent(
	tx: Tx,
	input: IdempotencyKey & { readonly requestHash: Uint8Array },
): Promise<IdempotencyState> {
	const requestHash = Buffer.from(input.requestHash);
	const inserted = await tx
		.insertInto('idempotency')
		.values({ tenantId: input.tenantId, key: input.key, requestHash })
		.onConflict((conflict) => conflict.columns(['tenantId', 'key']).doNothing())
		.returning('key')
		.executeTakeFirst();
	if (inserted !== undefined) return { state: 'new' };
	const row = await tx
		.selectFrom('idempotency')
		.select(['requestHash', 'status', 'response'])
		.where('tenantId', '=', input.tenantId)
		.where('key', '=', input.key)
		.executeTakeFirst();
	if (row === undefined) return { state: 'running' }; // removed between the two statements: let the caller come again
	if (!row.requestHash.equals(requestHash)) {
		throw new MvmError('IDEMPOTENCY_MISMATCH', 'this idempotency key was used for another request', {
			details: { idempotency_key: input.key },
			hint: 'use a new key for a new request',
		});
	}
	return row.status === null ? { state: 'running' } : { state: 'done', status: row.status, response: row.response };
}

/** Stores the answer; in the transaction of the act itself, so that both are there or neither. */
export async function finishIdempotent(
	tx: Tx,
	input: IdempotencyKey & { readonly status: number; readonly response: unknown },
): Promise<void> {
	await tx
		.updateTable('idempotency')
		.set({ status: input.status, response: json(input.response ?? null) })
		.where('tenantId', '=', input.tenantId)
		.where('key', '=', input.key)
		.execute();
}

/** Gives a key back after a failure that changed nothing. */
export async function dropIdempotent(tx: Tx, input: IdempotencyKey): Promise<void> {
	await tx.deleteFrom('idempotency').where('tenantId', '=', input.tenantId).where('key', '=', input.key).execute();
}

/** Retention, and the end of requests that a crash left without an answer; returns how many went. */
export async function deleteIdempotentBefore(
	tx: Tx,
	input: { readonly answeredBefore: Date; readonly unansweredBefore: Date },
): Promise<number> {
	const result = await tx
		.deleteFrom('idempotency')
		.where(
			sql<boolean>`created_at < case when status is null then ${input.unansweredBefore}::timestamptz else ${input.answeredBefore}::timestamptz end`,
		)
		.executeTakeFirst();
	return Number(result.numDeletedRows);
}
