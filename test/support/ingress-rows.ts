// Plants what an ingress test needs in the store: a tenant, a pool with one channel, an instance, a checkpoint.
import { type InstanceId, PoolSpec, parsePoolId, parseTenantId, type TenantId } from '@mvm/protocol';
import { type Database, json } from '../../packages/mvm/src/state/index.ts';
import { PROOF } from './scripted-instance.ts';

export const CHANNEL = 'hook';
export const SECRET = 'the-sender';
export const WORKERS = parsePoolId('workers');

export async function plantTenant(db: Database, name: string): Promise<TenantId> {
	const id = parseTenantId(name);
	const spec = PoolSpec.parse({
		id: WORKERS,
		ingress: [
			{
				channel: CHANNEL,
				guest_port: 8787,
				path: '/hook',
				verify: { header: 'x-hook-secret', secret: 'HOOK_SECRET' },
				event_id: '/id',
				order_by: '/chat',
				proof: PROOF,
			},
		],
	});
	await db.asSystem(async (tx) => {
		await tx
			.insertInto('tenant')
			.values({ id, quotas: json({}) })
			.execute();
		await tx
			.insertInto('pool')
			.values({ tenantId: id, id: WORKERS, spec: json(PoolSpec.encode(spec)) })
			.execute();
	});
	return id;
}

export async function plantInstance(db: Database, tenantId: TenantId, id = 'i-00000001' as InstanceId): Promise<InstanceId> {
	await db.asSystem((tx) => tx.insertInto('instance').values({ id, tenantId, poolId: WORKERS, state: 'running' }).execute());
	return id;
}
