// Stores the hash of a new API key. Operator keys are made inside asSystem, a tenant's inside asTenant.
import { type ApiKeyId, MvmError, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { FOREIGN_KEY_VIOLATION, sqlState } from '../pg-error.ts';
import { type ApiKeyRow, toApiKeyRow } from './api-key-row.ts';

export interface NewApiKey {
	readonly id: ApiKeyId;
	readonly tenantId: TenantId | null;
	readonly role: ApiKeyRow['role'];
	readonly name: string;
	/** sha256 of the whole key. */
	readonly hash: Uint8Array;
}

/** Throws TENANT_NOT_FOUND. */
export async function createApiKey(tx: Tx, key: NewApiKey): Promise<ApiKeyRow> {
	try {
		const row = await tx
			.insertInto('apiKey')
			.values({ ...key, hash: Buffer.from(key.hash) })
			.returningAll()
			.executeTakeFirstOrThrow();
		return toApiKeyRow(row);
	} catch (error) {
		if (sqlState(error) !== FOREIGN_KEY_VIOLATION) throw error;
		throw new MvmError('TENANT_NOT_FOUND', `there is no tenant ${key.tenantId}`, { details: { tenant_id: key.tenantId } });
	}
}
