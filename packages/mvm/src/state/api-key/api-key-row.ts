// One API key as stored: the key itself is nowhere, only its sha256.
import type { ApiKeyId, TenantId } from '@mvm/protocol';
import type { Selectable } from 'kysely';
import type { Tables } from '../tables.ts';

export interface ApiKeyRow {
	readonly id: ApiKeyId;
	/** Null for a key of the operator. */
	readonly tenantId: TenantId | null;
	readonly role: 'operator' | 'tenant_admin' | 'tenant_user';
	readonly name: string;
	readonly hash: Buffer;
	readonly createdAt: Date;
	/** Null while it is valid. */
	readonly revokedAt: Date | null;
}

export function toApiKeyRow(row: Selectable<Tables['apiKey']>): ApiKeyRow {
	return { ...row, id: row.id as ApiKeyId };
}
