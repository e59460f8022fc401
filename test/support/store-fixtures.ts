// Rows that tests of the store and of its users start from, made through the store's own operations.
import { PoolSpec, parsePoolId, parseTenantId, Quotas, type TenantId } from '@mvm/protocol';
import type { Database } from '../../packages/mvm/src/state/database.ts';
import { putPool } from '../../packages/mvm/src/state/pool/put-pool.ts';
import { createTenant } from '../../packages/mvm/src/state/tenant/create-tenant.ts';

/** Makes a tenant with default quotas and returns its id. */
export async function plantTenant(db: Database, name: string): Promise<TenantId> {
	const id = parseTenantId(name);
	await db.asTenant(id, (tx) => createTenant(tx, { id, quotas: Quotas.parse({}) }));
	return id;
}

/** Makes a pool from a wire specification's fields over the defaults. */
export async function plantPool(db: Database, tenantId: TenantId, name: string, spec: Record<string, unknown> = {}) {
	const parsed = PoolSpec.parse({ id: parsePoolId(name), ...spec });
	return (await db.asTenant(tenantId, (tx) => putPool(tx, { tenantId, spec: parsed }))).pool;
}
