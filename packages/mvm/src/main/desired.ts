// Desired state from the store, in the planner's words.
import type { Desired } from '../domain/plan-world.ts';
import { type Database, listPools, listTenants } from '../state/index.ts';

/** Every tenant and pool; `canWarm` is what the host's driver says of itself. */
export async function readDesired(db: Database, canWarm: boolean): Promise<Desired> {
	const { tenants, pools } = await db.asSystem(async (tx) => ({ tenants: await listTenants(tx), pools: await listPools(tx) }));
	return {
		tenants: tenants.map(({ id, quotas, suspendedAt }) => ({ tenantId: id, quotas, suspended: suspendedAt !== null })),
		pools: pools.map(({ tenantId, id, spec, image }) => ({ ...spec, tenantId, poolId: id, hasImage: image !== null, canWarm })),
	};
}
