// Reads API keys: one by id for authentication, or a list for people.
import type { ApiKeyId, TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { type ApiKeyRow, toApiKeyRow } from './api-key-row.ts';

/** Revoked ones too; undefined when there is none. */
export async function findApiKey(tx: Tx, id: ApiKeyId | string): Promise<ApiKeyRow | undefined> {
	const row = await tx.selectFrom('apiKey').selectAll().where('id', '=', id).executeTakeFirst();
	return row === undefined ? undefined : toApiKeyRow(row);
}

/** Oldest first, revoked ones too; without `tenantId` all that the transaction may see. */
export async function listApiKeys(tx: Tx, filter: { readonly tenantId?: TenantId } = {}): Promise<readonly ApiKeyRow[]> {
	let query = tx.selectFrom('apiKey').selectAll().orderBy('createdAt').orderBy('id');
	if (filter.tenantId !== undefined) query = query.where('tenantId', '=', filter.tenantId);
	return (await query.execute()).map(toApiKeyRow);
}
