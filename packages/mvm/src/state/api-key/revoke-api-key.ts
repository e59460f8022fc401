// Ends an API key for good; its row stays, so that audit records that name it can be read.
import { type ApiKeyId, MvmError } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import { type ApiKeyRow, toApiKeyRow } from './api-key-row.ts';

/** Revoking twice keeps the first time. Throws KEY_NOT_FOUND. */
export async function revokeApiKey(tx: Tx, id: ApiKeyId): Promise<ApiKeyRow> {
	const row = await tx
		.updateTable('apiKey')
		.set({ revokedAt: sql<Date>`coalesce(revoked_at, now())` })
		.where('id', '=', id)
		.returningAll()
		.executeTakeFirst();
	if (row === undefined) throw new MvmError('KEY_NOT_FOUND', `there is no API key ${id}`, { details: { key_id: id } });
	return toApiKeyRow(row);
}
