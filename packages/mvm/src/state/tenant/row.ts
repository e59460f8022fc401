// One tenant as the services see it. Written by the operations of this folder and by state/secret (secretsEpoch).
import { Quotas, type TenantId } from '@mvm/protocol';
import type { Selectable } from 'kysely';
import type { Tables } from '../tables.ts';

export interface TenantRow {
	readonly id: TenantId;
	readonly quotas: Quotas;
	readonly createdAt: Date;
	/** Null unless suspended. */
	readonly suspendedAt: Date | null;
	readonly suspendReason: string | null;
	/** +1 whenever a secret is set or removed; instances whose own epoch is lower hold old secrets. */
	readonly secretsEpoch: number;
	/** Compare-and-set of every change of configuration. */
	readonly configVersion: number;
}

export function toTenantRow(row: Selectable<Tables['tenant']>): TenantRow {
	return { ...row, quotas: Quotas.parse(row.quotas) };
}
