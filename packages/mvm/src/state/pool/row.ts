// One pool as the services see it. Written by the operations of this folder only.
import { type PoolId, PoolSpec, type TenantId } from '@mvm/protocol';
import type { Selectable } from 'kysely';
import type { Tables } from '../tables.ts';

export interface PoolRow {
	readonly tenantId: TenantId;
	readonly id: PoolId;
	readonly spec: PoolSpec;
	/** Content hash of the image revision that new boots use; null until one was resolved. */
	readonly image: string | null;
	/** Compare-and-set of every change. */
	readonly configVersion: number;
	readonly createdAt: Date;
	readonly updatedAt: Date;
}

export function toPoolRow(row: Selectable<Tables['pool']>): PoolRow {
	return { ...row, spec: PoolSpec.parse(row.spec) };
}
