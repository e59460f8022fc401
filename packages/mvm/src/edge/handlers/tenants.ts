// Tenants and their secrets. Every change is one transaction with its audit record.
import { MvmError, parseTenantId, SecretNameSchema, type TenantId, type TenantView } from '@mvm/protocol';
import { SecretValue } from '../../platform/secret-value.ts';
import {
	createTenant,
	destroyPool,
	destroyTenant,
	getTenant,
	INGRESS_NOTIFY_CHANNEL,
	listPools,
	listSecrets,
	listTenants,
	notify,
	retainedBytes,
	setSecret,
	type TenantPatch,
	type Tx,
	updateTenant,
} from '../../state/index.ts';
import type { ApiContext, Handlers } from '../api-types.ts';
import type { ControlDeps } from '../control-deps.ts';
import { toTenantView } from '../views.ts';
import { destroyInstances, recordAct } from './common.ts';

type TenantHandlers = Pick<
	Handlers,
	| 'tenant.create'
	| 'tenant.list'
	| 'tenant.get'
	| 'tenant.quotas'
	| 'tenant.suspend'
	| 'tenant.resume'
	| 'tenant.destroy'
	| 'secret.set'
	| 'secret.list'
>;

export function tenantHandlers(deps: ControlDeps): TenantHandlers {
	const view = async (tx: Tx, id: TenantId): Promise<TenantView> =>
		toTenantView({
			tenant: await getTenant(tx, id),
			pools: await listPools(tx, { tenantId: id }),
			instances: await deps.instances.list(tx, { tenantId: id }),
			retainedBytes: await retainedBytes(tx, id),
		});
	const change = async (context: ApiContext, text: string, action: string, patch: TenantPatch): Promise<TenantView> => {
		const id = parseTenantId(text);
		const changed = await deps.db.asTenant(id, async (tx) => {
			await updateTenant(tx, { id, patch });
			const { quotas, suspension } = patch;
			const detail = {
				...(quotas === undefined ? {} : { quotas }),
				...(suspension == null ? {} : { reason: suspension.reason }),
			};
			await recordAct(deps, tx, context, { tenantId: id, action, target: `tenant/${id}`, detail });
			await notify(tx, INGRESS_NOTIFY_CHANNEL, id); // what waited for the change is looked at again
			return view(tx, id);
		});
		deps.changed(id);
		return changed;
	};
	return {
		'tenant.create': (context, { body }) =>
			deps.db.asTenant(body.id, async (tx) => {
				await createTenant(tx, body);
				await recordAct(deps, tx, context, { tenantId: body.id, action: 'tenant.create', target: `tenant/${body.id}` });
				return view(tx, body.id);
			}),
		'tenant.list': () =>
			deps.db.asSystem(async (tx) => {
				const items: TenantView[] = [];
				for (const tenant of await listTenants(tx)) items.push(await view(tx, tenant.id));
				return { items, next: null };
			}),
		'tenant.get': (_context, { params }) => {
			const id = parseTenantId(params.tenant);
			return deps.db.asTenant(id, (tx) => view(tx, id));
		},
		'tenant.quotas': (context, { params, body }) => change(context, params.tenant, 'tenant.quotas', { quotas: body }),
		'tenant.suspend': (context, { params, body }) =>
			change(context, params.tenant, 'tenant.suspend', { suspension: { at: new Date(deps.clock.now()), reason: body.reason } }),
		'tenant.resume': (context, { params }) => change(context, params.tenant, 'tenant.resume', { suspension: null }),
		'tenant.destroy': async (context, { params }) => {
			const id = parseTenantId(params.tenant);
			// Suspended first, so that nothing is made anew while the old ones go.
			const before = await deps.db.asTenant(id, async (tx) => {
				const tenant = await getTenant(tx, id);
				const suspension = { at: new Date(deps.clock.now()), reason: 'the tenant is being destroyed' };
				if (tenant.suspendedAt === null) await updateTenant(tx, { id, patch: { suspension } });
				return tenant;
			});
			deps.changed(id);
			try {
				await destroyInstances(deps, context, { tenantId: id });
			} catch (error) {
				if (before.suspendedAt === null) await change(context, id, 'tenant.resume', { suspension: null });
				throw error;
			}
			await deps.db.asTenant(id, async (tx) => {
				for (const pool of await listPools(tx, { tenantId: id })) await destroyPool(tx, { tenantId: id, id: pool.id });
				await destroyTenant(tx, id);
			});
			// Its events went with it; its audit trail stays, and the operator's own says who ended it.
			await deps.db.asSystem((tx) =>
				recordAct(deps, tx, context, { tenantId: undefined, action: 'tenant.destroy', target: `tenant/${id}` }),
			);
			deps.changed(id);
			await deps.dropBlobs(id);
			return {};
		},
		'secret.set': async (context, { params, body }) => {
			const tenantId = parseTenantId(params.tenant);
			const name = SecretNameSchema.safeParse(params.secret);
			if (!name.success) throw new MvmError('INVALID_ID', 'a secret is named like an environment variable: MODEL_KEY');
			const info = await deps.db.asTenant(tenantId, async (tx) => {
				const value = new SecretValue(body.value);
				const { change } = await setSecret(tx, { tenantId, name: name.data, value, key: deps.masterKey });
				if (change === 'set') {
					await recordAct(deps, tx, context, { tenantId, action: 'secret.set', target: `secret/${name.data}` });
				}
				return (await listSecrets(tx, tenantId)).find((one) => one.name === name.data);
			});
			deps.changed(tenantId);
			if (info === undefined) throw new MvmError('INTERNAL', 'the secret was stored and is not there');
			return { name: info.name, version: info.version, createdAt: info.createdAt.toISOString() };
		},
		'secret.list': (_context, { params }) => {
			const tenantId = parseTenantId(params.tenant);
			return deps.db.asTenant(tenantId, async (tx) => {
				await getTenant(tx, tenantId);
				const secrets = await listSecrets(tx, tenantId);
				return { items: secrets.map((one) => ({ ...one, createdAt: one.createdAt.toISOString() })), next: null };
			});
		},
	};
}
