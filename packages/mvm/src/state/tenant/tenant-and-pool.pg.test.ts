import { PoolSpec, parseApiKeyId, parsePoolId, parseTenantId, Quotas } from '@mvm/protocol';
import { expect, test } from 'vitest';
import { withDatabase } from '../../../../../test/support/postgres.ts';
import { plantPool, plantTenant } from '../../../../../test/support/store-fixtures.ts';
import { createApiKey } from '../api-key/create-api-key.ts';
import { findApiKey, listApiKeys } from '../api-key/find-api-key.ts';
import { revokeApiKey } from '../api-key/revoke-api-key.ts';
import { appendEvent, EVENT_CHANNEL } from '../event/append-event.ts';
import { listEvents } from '../event/list-events.ts';
import { beginIdempotent, deleteIdempotentBefore, dropIdempotent, finishIdempotent } from '../idempotency/begin-idempotent.ts';
import { destroyPool } from '../pool/destroy-pool.ts';
import { getPool, listPools } from '../pool/get-pool.ts';
import { putPool } from '../pool/put-pool.ts';
import { setPoolImage } from '../pool/set-pool-image.ts';
import { createTenant } from './create-tenant.ts';
import { destroyTenant } from './destroy-tenant.ts';
import { getTenant, listTenants } from './get-tenant.ts';
import { updateTenant } from './update-tenant.ts';

const store = withDatabase();
const quotas = Quotas.parse({ max_running: 2 });

test('a tenant is made once, changed only by those who saw its present version, and suspended with a reason', async () => {
	const id = await plantTenant(store.db, 'acme');
	await expect(store.db.asTenant(id, (tx) => createTenant(tx, { id, quotas }))).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
	const changed = await store.db.asTenant(id, (tx) => updateTenant(tx, { id, patch: { quotas }, expectedVersion: 1 }));
	expect(changed).toMatchObject({ quotas: { maxRunning: 2 }, configVersion: 2, suspendedAt: null });
	const late = store.db.asTenant(id, (tx) => updateTenant(tx, { id, patch: { quotas }, expectedVersion: 1 }));
	await expect(late).rejects.toMatchObject({ code: 'CONFLICT', details: { config_version: 2 } });
	const suspension = { at: new Date(5), reason: 'unpaid' };
	expect(await store.db.asTenant(id, (tx) => updateTenant(tx, { id, patch: { suspension } }))).toMatchObject({
		suspendReason: 'unpaid',
		suspendedAt: new Date(5),
	});
	expect(await store.db.asTenant(id, (tx) => updateTenant(tx, { id, patch: { suspension: null } }))).toMatchObject({
		suspendReason: null,
		suspendedAt: null,
	});
	const ghost = parseTenantId('ghost');
	await expect(store.db.asTenant(ghost, (tx) => getTenant(tx, ghost))).rejects.toMatchObject({ code: 'TENANT_NOT_FOUND' });
	await expect(store.db.asTenant(ghost, (tx) => updateTenant(tx, { id: ghost, patch: {} }))).rejects.toMatchObject({
		code: 'TENANT_NOT_FOUND',
	});
});

test('putting a pool creates, replaces or leaves it, refuses stale versions, and keeps its role', async () => {
	const tenantId = await plantTenant(store.db, 'pools');
	const spec = (fields: Record<string, unknown>) => PoolSpec.parse({ id: 'workers', ...fields });
	const put = (fields: Record<string, unknown>, expectedVersion?: number) =>
		store.db.asTenant(tenantId, (tx) =>
			putPool(tx, { tenantId, spec: spec(fields), ...(expectedVersion === undefined ? {} : { expectedVersion }) }),
		);
	expect(await put({ mem_mib: 512 }, 0)).toMatchObject({
		change: 'created',
		pool: { configVersion: 1, image: null, spec: { memMib: 512 } },
	});
	await expect(put({ mem_mib: 512 }, 0)).rejects.toMatchObject({ code: 'CONFLICT' });
	expect(await put({ mem_mib: 512 })).toMatchObject({ change: 'unchanged', pool: { configVersion: 1 } });
	expect(await put({ mem_mib: 1024 }, 1)).toMatchObject({ change: 'updated', pool: { configVersion: 2 } });
	await expect(put({ mem_mib: 2048 }, 1)).rejects.toMatchObject({ code: 'CONFLICT', details: { config_version: 2 } });
	await expect(put({ role: 'gateway' })).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining('role') });
	const id = parsePoolId('workers');
	expect(await store.db.asTenant(tenantId, (tx) => setPoolImage(tx, { tenantId, id, image: 'abc' }))).toMatchObject({
		image: 'abc',
	});
	expect(await store.db.asTenant(tenantId, (tx) => getPool(tx, { tenantId, id }))).toMatchObject({
		image: 'abc',
		spec: { memMib: 1024 },
	});
	const ghost = parseTenantId('no-such');
	await expect(store.db.asTenant(ghost, (tx) => putPool(tx, { tenantId: ghost, spec: spec({}) }))).rejects.toMatchObject({
		code: 'TENANT_NOT_FOUND',
	});
	await expect(store.db.asTenant(tenantId, (tx) => getPool(tx, { tenantId, id: parsePoolId('none') }))).rejects.toMatchObject({
		code: 'POOL_NOT_FOUND',
	});
});

test('a tenant or pool with a live instance is not destroyed, and its audit outlives it', async () => {
	const tenantId = await plantTenant(store.db, 'leaving');
	const pool = await plantPool(store.db, tenantId, 'workers');
	await store.asSuperuser(
		"insert into instance (id, tenant_id, pool_id, state) values ('i-00000001', 'leaving', 'workers', 'sleeping')",
	);
	const refused = { code: 'CONFLICT', details: { instances: ['i-00000001'], count: 1 } };
	await expect(store.db.asTenant(tenantId, (tx) => destroyTenant(tx, tenantId))).rejects.toMatchObject(refused);
	await expect(store.db.asTenant(tenantId, (tx) => destroyPool(tx, pool))).rejects.toMatchObject(refused);
	await store.asSuperuser("update instance set state = 'destroyed' where id = 'i-00000001'");
	await store.db.asTenant(tenantId, (tx) => destroyPool(tx, pool));
	expect(await store.db.asTenant(tenantId, (tx) => listPools(tx, { tenantId }))).toEqual([]);
	await plantPool(store.db, tenantId, 'workers');
	await store.db.asTenant(tenantId, (tx) => destroyTenant(tx, tenantId));
	expect((await store.db.asSystem((tx) => listTenants(tx))).map((tenant) => tenant.id)).not.toContain('leaving');
	await expect(store.db.asTenant(tenantId, (tx) => destroyTenant(tx, tenantId))).rejects.toMatchObject({
		code: 'TENANT_NOT_FOUND',
	});
});

test('API keys are found by id, listed per tenant, and revoked once for good', async () => {
	const tenantId = await plantTenant(store.db, 'keys');
	const id = parseApiKeyId('key-0000000a');
	const key = { id, tenantId, role: 'tenant_admin', name: 'ci', hash: Buffer.alloc(32, 1) } as const;
	await store.db.asTenant(tenantId, (tx) => createApiKey(tx, key));
	await store.db.asSystem((tx) =>
		createApiKey(tx, { ...key, id: parseApiKeyId('key-0000000b'), tenantId: null, role: 'operator', hash: Buffer.alloc(32, 2) }),
	);
	expect(await store.db.asSystem((tx) => findApiKey(tx, id))).toMatchObject({
		tenantId,
		revokedAt: null,
		hash: Buffer.alloc(32, 1),
	});
	expect(await store.db.asTenant(tenantId, (tx) => listApiKeys(tx))).toHaveLength(1);
	const first = await store.db.asTenant(tenantId, (tx) => revokeApiKey(tx, id));
	expect((await store.db.asTenant(tenantId, (tx) => revokeApiKey(tx, id))).revokedAt).toEqual(first.revokedAt);
	await expect(store.db.asTenant(tenantId, (tx) => revokeApiKey(tx, parseApiKeyId('key-0000000b')))).rejects.toMatchObject({
		code: 'KEY_NOT_FOUND',
	});
});

test('events come in order after a cursor, and a committed one notifies', async () => {
	const tenantId = await plantTenant(store.db, 'events');
	const heard: (string | undefined)[] = [];
	const { promise, resolve } = Promise.withResolvers<void>();
	const stop = await store.db.listen(EVENT_CHANNEL, (payload) => {
		heard.push(payload);
		if (heard.length === 2) resolve();
	});
	const first = await store.db.asTenant(tenantId, (tx) =>
		appendEvent(tx, { tenantId, kind: 'instance.woke', detail: { wake_ms: 3 } }),
	);
	await store.db.asTenant(tenantId, (tx) => appendEvent(tx, { tenantId, kind: 'instance.slept' }));
	await promise;
	await stop();
	expect(heard).toEqual(['events', 'events']);
	const after = await store.db.asTenant(tenantId, (tx) => listEvents(tx, { afterId: first, limit: 10 }));
	expect(after.map((event) => event.kind)).toEqual(['instance.slept']);
	const newest = await store.db.asTenant(tenantId, (tx) => listEvents(tx, { limit: 10 }));
	expect(newest.map((event) => [event.kind, event.detail])).toEqual([
		['instance.woke', { wake_ms: 3 }],
		['instance.slept', {}],
	]);
});

test('a repeated request gets the first answer, another request under its key is refused', async () => {
	const tenantId = await plantTenant(store.db, 'again');
	const key = { tenantId, key: 'k1' };
	const begin = (hash: number) =>
		store.db.asTenant(tenantId, (tx) => beginIdempotent(tx, { ...key, requestHash: Buffer.alloc(32, hash) }));
	expect(await begin(1)).toEqual({ state: 'new' });
	expect(await begin(1)).toEqual({ state: 'running' });
	await store.db.asTenant(tenantId, (tx) => finishIdempotent(tx, { ...key, status: 201, response: { id: 'x' } }));
	expect(await begin(1)).toEqual({ state: 'done', status: 201, response: { id: 'x' } });
	await expect(begin(2)).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISMATCH' });
	await store.db.asTenant(tenantId, (tx) => dropIdempotent(tx, key));
	expect(await begin(2)).toEqual({ state: 'new' });
	const operator = { tenantId: '', key: 'k1', requestHash: Buffer.alloc(32) } as const;
	expect(await store.db.asSystem((tx) => beginIdempotent(tx, operator))).toEqual({ state: 'new' });
	const later = new Date(Date.now() + 60_000);
	expect(
		await store.db.asSystem((tx) => deleteIdempotentBefore(tx, { answeredBefore: new Date(0), unansweredBefore: later })),
	).toBe(2);
});
