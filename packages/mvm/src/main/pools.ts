// What lifecycle, endpoints and the gateway read of a pool: its spec, the tenant's quotas, the image that it boots.
import { type GuestConfig, type ImageRevision, MvmError, type PoolId, type TenantId } from '@mvm/protocol';
import { systemClock } from '../drivers/clock/system.ts';
import type { PoolView } from '../lifecycle/index.ts';
import type { Runtime, SecretFile } from '../ports/runtime.ts';
import { type Database, findTenant, getPool, getTenant, type InstanceRow, type MasterKey, readSecrets } from '../state/index.ts';
import { UntilChanged } from './until-changed.ts';

const LIST_MS = 30_000;
const WORKLOAD_UID = 1000;
const EXECUTOR_UIDS_FROM = 2001;

export class Pools {
	readonly #db: Database;
	readonly #runtime: Runtime;
	readonly #key: MasterKey;
	readonly #isSingleUid: boolean;
	/** Revisions never change, so they are kept for good. */
	readonly #images = new Map<string, ImageRevision>();
	readonly #views = new UntilChanged<PoolView>(systemClock.monotonic);
	readonly #suspensions = new UntilChanged<string | undefined>(systemClock.monotonic);

	constructor(deps: {
		readonly db: Database;
		readonly runtime: Runtime;
		readonly key: MasterKey;
		readonly isSingleUid: boolean;
	}) {
		this.#db = deps.db;
		this.#runtime = deps.runtime;
		this.#key = deps.key;
		this.#isSingleUid = deps.isSingleUid;
	}

	/** The control API changed something of the tenant. */
	changed(tenantId: TenantId): void {
		this.#views.drop(tenantId);
		this.#suspensions.drop(tenantId);
	}

	/** Why the tenant is not served; undefined when it is, or when there is none. */
	suspensionOf(tenantId: TenantId): Promise<string | undefined> {
		return this.#suspensions.get(tenantId, 'suspension', async () => {
			const row = await this.#db.asTenant(tenantId, (tx) => findTenant(tx, tenantId));
			return row === undefined || row.suspendedAt === null ? undefined : (row.suspendReason ?? 'suspended');
		});
	}

	/** Throws POOL_NOT_FOUND, TENANT_NOT_FOUND or IMAGE_NOT_FOUND. */
	view(tenantId: TenantId, poolId: PoolId): Promise<PoolView> {
		return this.#views.get(tenantId, poolId, () => this.#read(tenantId, poolId));
	}

	async #read(tenantId: TenantId, poolId: PoolId): Promise<PoolView> {
		const { pool, tenant } = await this.#db.asTenant(tenantId, async (tx) => ({
			pool: await getPool(tx, { tenantId, id: poolId }),
			tenant: await getTenant(tx, tenantId),
		}));
		if (pool.image === null) {
			throw new MvmError('IMAGE_NOT_FOUND', `pool ${tenantId}/${poolId} has no image yet`, {
				hint: 'mvm deploy builds and sets it',
			});
		}
		const { secretsEpoch, quotas } = tenant;
		return { tenantId, poolId, spec: pool.spec, quotas, secretsEpoch, image: await this.image(pool.image) };
	}

	async image(hash: string): Promise<ImageRevision> {
		const known = this.#images.get(hash);
		if (known !== undefined) return known;
		for (const revision of await this.#runtime.listImages({ signal: AbortSignal.timeout(LIST_MS) })) {
			this.#images.set(revision.hash, revision);
		}
		const found = this.#images.get(hash);
		if (found !== undefined) return found;
		throw new MvmError('IMAGE_NOT_FOUND', `image ${hash.slice(0, 12)} is not on this host`, { hint: 'mvm image list' });
	}

	/** Scope decides what leaves the store: no scope, nothing. An empty key list means every key of the tenant. */
	async secretsOf(pool: PoolView): Promise<{ readonly epoch: number; readonly files: readonly SecretFile[] }> {
		const { tenantId, spec } = pool;
		if (spec.secretScopes.length === 0) return { epoch: pool.secretsEpoch, files: [] };
		return this.#db.asTenant(tenantId, async (tx) => {
			const tenant = await getTenant(tx, tenantId);
			const all = await readSecrets(tx, { tenantId, key: this.#key });
			const files = spec.secretScopes.flatMap(({ integration, keys }) =>
				(keys.length === 0 ? [...all.keys()] : keys).map((name) => {
					const value = all.get(name);
					if (value === undefined) {
						throw new MvmError('SECRET_MISSING', `secret ${name} of ${tenantId} has no value`, {
							details: { integration, name },
							hint: `mvm tenant secrets set ${tenantId} ${name}`,
						});
					}
					return { integration, key: name, value: value.reveal() };
				}),
			);
			return { epoch: tenant.secretsEpoch, files };
		});
	}

	guestConfig(instance: InstanceRow, pool: PoolView): GuestConfig {
		const { spec } = pool;
		return {
			instanceId: instance.id,
			poolId: instance.poolId,
			tenantId: instance.tenantId,
			guestIp: null,
			vcpus: spec.vcpus,
			memMib: spec.memMib,
			minRuntimePolicy: spec.runtimePolicy,
			integrations: spec.integrations,
			workload: pool.image.workload,
			endpoints: spec.endpoints.map(({ name, guestPort }) => ({ name, guestPort })),
			uids: this.#isSingleUid ? null : { workload: WORKLOAD_UID, executorBase: EXECUTOR_UIDS_FROM },
			dev: false,
		};
	}
}
