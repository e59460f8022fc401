// Pools: made, listed, scaled, destroyed. The reconciler is told and does the rest.
import { MvmError, type PoolId, type PoolView, parsePoolId, parseTenantId, type TenantId } from '@mvm/protocol';
import { destroyPool, getPool, getTenant, listPools, putPool, setPoolImage } from '../../state/index.ts';
import type { Handlers } from '../api-types.ts';
import type { ControlDeps } from '../control-deps.ts';
import { resolveImage } from '../images.ts';
import { toPoolView } from '../views.ts';
import { destroyInstances, recordAct, refuseSharedChannels } from './common.ts';

type PoolHandlers = Pick<Handlers, 'pool.create' | 'pool.list' | 'pool.get' | 'pool.scale' | 'pool.destroy'>;

export function poolHandlers(deps: ControlDeps): PoolHandlers {
	const keyOf = (params: { readonly tenant: string; readonly pool: string }): { tenantId: TenantId; id: PoolId } => ({
		tenantId: parseTenantId(params.tenant),
		id: parsePoolId(params.pool),
	});
	return {
		'pool.create': async (context, { params, body: spec }) => {
			const tenantId = parseTenantId(params.tenant);
			const image = spec.image === null ? undefined : resolveImage(await deps.images.listImages(context), spec.image);
			const view = await deps.db.asTenant(tenantId, async (tx) => {
				const tenant = await getTenant(tx, tenantId);
				const pools = await listPools(tx, { tenantId });
				if (pools.some((pool) => pool.id === spec.id)) {
					throw new MvmError('ALREADY_EXISTS', `pool ${tenantId}/${spec.id} exists already`);
				}
				if (pools.length >= tenant.quotas.maxPools) {
					const details = { quota: 'max_pools', limit: tenant.quotas.maxPools, used: pools.length };
					throw new MvmError('QUOTA_EXCEEDED', `tenant ${tenantId} has ${pools.length} of ${tenant.quotas.maxPools} pools`, {
						details,
					});
				}
				let { pool } = await putPool(tx, { tenantId, spec, expectedVersion: 0 });
				if (image !== undefined) pool = await setPoolImage(tx, { tenantId, id: spec.id, image: image.hash });
				await refuseSharedChannels(tx, tenantId);
				await recordAct(deps, tx, context, { tenantId, action: 'pool.create', target: `pool/${spec.id}` });
				return toPoolView(pool, []);
			});
			deps.changed(tenantId);
			return view;
		},
		'pool.list': (_context, { params }) => {
			const tenantId = parseTenantId(params.tenant);
			return deps.db.asTenant(tenantId, async (tx) => {
				await getTenant(tx, tenantId);
				const instances = await deps.instances.list(tx, { tenantId });
				const items: PoolView[] = (await listPools(tx, { tenantId })).map((pool) => toPoolView(pool, instances));
				return { items, next: null };
			});
		},
		'pool.get': (_context, { params }) => {
			const key = keyOf(params);
			return deps.db.asTenant(key.tenantId, async (tx) =>
				toPoolView(await getPool(tx, key), await deps.instances.list(tx, { tenantId: key.tenantId, poolId: key.id })),
			);
		},
		'pool.scale': async (context, { params, body }) => {
			const key = keyOf(params);
			const view = await deps.db.asTenant(key.tenantId, async (tx) => {
				const present = await getPool(tx, key);
				const { pool, change } = await putPool(tx, {
					tenantId: key.tenantId,
					spec: { ...present.spec, desired: body },
					expectedVersion: present.configVersion,
				});
				if (change === 'updated') {
					const detail = { before: present.spec.desired, after: body };
					await recordAct(deps, tx, context, { tenantId: key.tenantId, action: 'pool.scale', target: `pool/${key.id}`, detail });
				}
				return toPoolView(pool, await deps.instances.list(tx, { tenantId: key.tenantId, poolId: key.id }));
			});
			deps.changed(key.tenantId);
			return view;
		},
		'pool.destroy': async (context, { params }) => {
			const key = keyOf(params);
			await deps.db.asTenant(key.tenantId, async (tx) => {
				const { spec, configVersion } = await getPool(tx, key);
				// Nothing is made anew while the old ones go.
				const none = { ...spec, desired: { running: 0, warm: 0, sleeping: 0 } };
				await putPool(tx, { tenantId: key.tenantId, spec: none, expectedVersion: configVersion });
			});
			deps.changed(key.tenantId);
			await destroyInstances(deps, context, { tenantId: key.tenantId, poolId: key.id });
			await deps.db.asTenant(key.tenantId, async (tx) => {
				await destroyPool(tx, key);
				await recordAct(deps, tx, context, { tenantId: key.tenantId, action: 'pool.destroy', target: `pool/${key.id}` });
			});
			deps.changed(key.tenantId);
			return {};
		},
	};
}
