import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
	type ImageRevision,
	type InstanceId,
	isMvmError,
	type PoolId,
	parseTenantId,
	ROUTES,
	type RouteId,
	type RouteQuery,
	type RouteRequest,
	type RouteResponse,
	type TenantId,
	Workload,
} from '@mvm/protocol';
import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withDatabase } from '../../../../test/support/postgres.ts';
import { realClock } from '../../../../test/support/real-clock.ts';
import { scriptedInstance } from '../../../../test/support/scripted-instance.ts';
import { openMasterKey, readSecret } from '../state/index.ts';
import type { Handler, Handlers } from './api-types.ts';
import { makeHandlers, storedEvents, storedIdempotency } from './control.ts';
import type { ControlDeps, InstanceFacts } from './control-deps.ts';
import type { Principal } from './principal.ts';

const store = withDatabase();
const acme = parseTenantId('acme');
const folder = mkdtempSync(join(tmpdir(), 'mvm-control-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let handlers: Handlers;
let deps: ControlDeps;
const destroyed: InstanceId[] = [];
const images: ImageRevision[] = [];
const revision = (name: string, hash: string): ImageRevision => ({
	hash,
	name,
	kind: 'dir',
	createdAt: `2026-01-01T00:00:0${images.length}.000Z`,
	bytes: 1,
	reused: false,
	workload: Workload.parse({}),
	lock: { version: 1, recipeSha256: '', packages: {}, inputs: {} },
});

beforeAll(async () => {
	const facts = (row: Record<string, unknown>): InstanceFacts => row as unknown as InstanceFacts;
	deps = {
		db: store.db,
		clock: realClock,
		log: pino({ level: 'silent' }),
		random: (bytes) => randomBytes(bytes),
		masterKey: openMasterKey(join(folder, 'key')),
		orchestrator: scriptedInstance(),
		instances: {
			get: async (tx, id) => {
				const row = await tx.selectFrom('instance').selectAll().where('id', '=', id).executeTakeFirst();
				return row === undefined ? undefined : facts(row);
			},
			list: async (tx, { tenantId, poolId }) => {
				let query = tx.selectFrom('instance').selectAll().where('state', '<>', 'destroyed');
				if (tenantId !== undefined) query = query.where('tenantId', '=', tenantId);
				if (poolId !== undefined) query = query.where('poolId', '=', poolId);
				return (await query.execute()).map(facts);
			},
		},
		actions: {
			create: async ({ tenantId, poolId }) => {
				const id = `i-${randomBytes(4).toString('hex')}` as InstanceId;
				await store.db.asSystem((tx) => tx.insertInto('instance').values({ id, tenantId, poolId, state: 'ready' }).execute());
				return { id };
			},
			warm: async () => {},
			sleep: async (id) => {
				await store.db.asSystem((tx) => tx.updateTable('instance').set({ state: 'sleeping' }).where('id', '=', id).execute());
			},
			stop: async () => {},
			destroy: async (id) => {
				destroyed.push(id);
				await store.db.asSystem((tx) => tx.updateTable('instance').set({ state: 'destroyed' }).where('id', '=', id).execute());
			},
		},
		images: {
			installImage: async (recipe, options) => {
				options.onProgress?.('building');
				const made = revision(recipe.name, randomBytes(32).toString('hex'));
				const known = images.find((image) => image.name === recipe.name);
				if (known !== undefined) return { ...known, reused: true };
				images.push(made);
				return made;
			},
			listImages: async () => images,
			gcImages: async (keep) => images.filter((image) => !keep.includes(image.hash)).map((image) => image.hash),
		},
		observe: async () => ({ runtime: undefined, inhibitors: ['held_ingress'] }),
		supervisor: async () => null,
		logs: async () => 'last words',
		checkpoints: { list: async () => [], verify: async () => Promise.reject(new Error('not here')) },
		dropBlobs: async () => {},
		changed: () => {},
		host: { info: () => Promise.reject(new Error('not here')), doctor: async () => ({ ok: true, checks: [] }) },
	};
	handlers = makeHandlers(deps);
});

const operator: Principal = { role: 'operator', actor: 'operator:test' };
const admin = (tenantId: TenantId): Principal => ({ role: 'tenant_admin', tenantId, actor: 'key:test' });

interface CallInput {
	readonly params?: Record<string, string>;
	readonly body?: unknown;
	readonly query?: unknown;
	readonly principal?: Principal;
}
/** As the API would: parsed by the route's codecs, and the answer must fit the route. */
async function call<Id extends RouteId>(id: Id, input: CallInput = {}): Promise<RouteResponse<Id>> {
	const route = ROUTES[id] as unknown as {
		request?: { parse(v: unknown): unknown };
		query?: { parse(v: unknown): unknown };
		response: { encode(v: unknown): unknown };
	};
	const handler = handlers[id] as unknown as Handler<Id>;
	const context = {
		principal: input.principal ?? operator,
		traceId: '0123456789abcdef0123456789abcdef',
		signal: new AbortController().signal,
		progress: () => {},
	};
	const answer = await handler(context, {
		params: (input.params ?? {}) as never,
		query: route.query?.parse(input.query ?? {}) as RouteQuery<Id>,
		body: route.request?.parse(input.body ?? {}) as RouteRequest<Id>,
	});
	route.response.encode(answer);
	return answer;
}
const codeOf = (promise: Promise<unknown>): Promise<string> =>
	promise.then(
		() => 'ok',
		(error) => (isMvmError(error) ? error.code : String(error)),
	);

const recipe = { kind: 'dir', name: 'counter', dir: 'agent' };
const document = (over: Record<string, unknown> = {}) => ({
	tenant: { id: 'acme', quotas: { max_running: 2 } },
	secrets: { HOOK: { file: 'hook' } },
	pools: [
		{
			id: 'workers',
			image: 'counter.image.toml',
			desired: { sleeping: 1 },
			ingress: [{ channel: 'hook', guest_port: 1, path: '/', verify: { header: 'x', secret: 'HOOK' }, event_id: '/id' }],
		},
	],
	...over,
});

test('a deploy says everything that is wrong at once and changes nothing', async () => {
	const bad = call('deploy.apply', { body: { document: document(), recipes: {}, secrets: {} } });
	const error = await bad.catch((e) => e);
	expect(error.code).toBe('INVALID_DOCUMENT');
	expect(error.details.problems.map((p: { path: string }) => p.path)).toEqual(['secrets.HOOK', 'pools.0.image']);
	expect(await codeOf(call('tenant.get', { params: { tenant: 'acme' } }))).toBe('TENANT_NOT_FOUND');
});

test('a deploy plans, makes it so, and finds nothing to do the second time', async () => {
	const body = { document: document(), recipes: { 'counter.image.toml': recipe }, secrets: { HOOK: 'value' } };
	const planned = await call('deploy.plan', { body });
	expect(planned).toMatchObject({ applied: false });
	expect(await codeOf(call('tenant.get', { params: { tenant: 'acme' } }))).toBe('TENANT_NOT_FOUND');
	const first = await call('deploy.apply', { body });
	expect(first.changes.map((c) => `${c.action} ${c.kind} ${c.id}`)).toEqual([
		'create image counter.image.toml',
		'create tenant acme',
		'create secret HOOK',
		'create pool workers',
	]);
	const again = await call('deploy.apply', { body });
	expect(new Set(again.changes.map((c) => c.action))).toEqual(new Set(['unchanged']));
	const pool = await call('pool.get', { params: { tenant: 'acme', pool: 'workers' } });
	expect([pool.image, pool.spec.desired.sleeping]).toEqual([images[0]?.hash, 1]);
	const secret = await store.db.asTenant(acme, (tx) => readSecret(tx, { tenantId: acme, name: 'HOOK', key: deps.masterKey }));
	expect(secret.reveal()).toBe('value');
	const changed = await call('deploy.apply', { body: { ...body, secrets: {}, document: document({ tenant: { id: 'acme' } }) } });
	expect(changed.changes.filter((c) => c.action !== 'unchanged').map((c) => `${c.action} ${c.kind}`)).toEqual(['update tenant']);
});

test('pools are scaled and a channel belongs to one pool; unknown images and quotas are refused', async () => {
	const scaled = await call('pool.scale', { params: { tenant: 'acme', pool: 'workers' }, body: { running: 1 } });
	expect(scaled.spec.desired).toEqual({ running: 1, warm: 0, sleeping: 0 });
	const create = (spec: Record<string, unknown>) => codeOf(call('pool.create', { params: { tenant: 'acme' }, body: spec }));
	expect(await create({ id: 'workers' })).toBe('ALREADY_EXISTS');
	expect(await create({ id: 'more', image: 'nothing' })).toBe('IMAGE_NOT_FOUND');
	expect(await create({ id: 'more', ingress: document().pools[0]?.ingress })).toBe('CONFLICT');
	expect(await create({ id: 'more', image: 'counter' })).toBe('ok');
	for (const id of ['a', 'b']) expect(await create({ id })).toBe('ok');
	expect(await create({ id: 'c' })).toBe('QUOTA_EXCEEDED');
	expect((await call('pool.list', { params: { tenant: 'acme' } })).items.map((pool) => pool.id)).toEqual([
		'a',
		'b',
		'more',
		'workers',
	]);
});

test('an instance is created, woken through the orchestrator, slept and destroyed; strangers do not find it', async () => {
	const made = await call('instance.create', { body: { tenant_id: 'acme', pool_id: 'workers' }, principal: admin(acme) });
	expect(made).toMatchObject({ state: 'ready', inhibitors: ['held_ingress'], poolId: 'workers' });
	const params = { instance: made.id };
	const woken = await call('instance.wake', { params, principal: admin(acme) });
	expect(woken.wake.outcome).toBe('resumed');
	expect((await call('instance.sleep', { params })).instance.state).toBe('sleeping');
	expect((await call('instance.list', { query: { state: 'sleeping' } })).items.map((one) => one.id)).toEqual([made.id]);
	expect((await call('instance.logs', { params })).text).toBe('last words');
	expect((await call('instance.stats', { params })).supervisor).toBeNull();
	await call('tenant.create', { body: { id: 'globex' } });
	const stranger = admin(parseTenantId('globex'));
	for (const id of [
		'instance.get',
		'instance.wake',
		'instance.sleep',
		'instance.destroy',
		'instance.logs',
		'instance.stats',
		'checkpoint.list',
	] as const) {
		expect(await codeOf(call(id, { params, principal: stranger })), id).toBe('INSTANCE_NOT_FOUND');
	}
	expect(await codeOf(call('instance.create', { body: { tenant_id: 'acme', pool_id: 'workers' }, principal: stranger }))).toBe(
		'FORBIDDEN',
	);
	expect(await codeOf(call('instance.list', { query: { tenant_id: 'acme' }, principal: stranger }))).toBe('FORBIDDEN');
	expect((await call('instance.list', { principal: stranger })).items).toEqual([]);
	await call('instance.destroy', { params });
	expect(await codeOf(call('instance.get', { params }))).toBe('INSTANCE_NOT_FOUND');
});

test('every act is in the audit chain with its actor and trace, the chain verifies, and secrets are in neither', async () => {
	await call('secret.set', {
		params: { tenant: 'acme', secret: 'MODEL_KEY' },
		body: { value: 'sk-very-secret' },
		principal: admin(acme),
	});
	expect((await call('secret.list', { params: { tenant: 'acme' } })).items.map((one) => one.name)).toEqual(['HOOK', 'MODEL_KEY']);
	expect(await codeOf(call('secret.set', { params: { tenant: 'acme', secret: 'no' }, body: { value: 'x' } }))).toBe('INVALID_ID');
	const { items, next } = await call('audit.list', { params: { tenant: 'acme' }, query: { limit: '3' } });
	expect(items[0]).toMatchObject({ action: 'secret.set', target: 'secret/MODEL_KEY', actor: 'key:test', outcome: 'ok' });
	expect(next).not.toBeNull();
	expect((await call('audit.list', { params: { tenant: 'acme' }, query: { limit: '3', after: next } })).items[0]?.seq).toBe(
		Number(next) - 1,
	);
	expect(await call('audit.verify', { params: { tenant: 'acme' } })).toMatchObject({ ok: true });
	const all = JSON.stringify([await call('audit.list', { params: { tenant: 'acme' } }), await call('event.list', { query: {} })]);
	expect(all).not.toContain('sk-very-secret');
});

test('events page from a cursor and are followed as they come', async () => {
	const first = await call('event.list', { query: { after: '0', limit: '2' } });
	expect(first.items).toHaveLength(2);
	const rest = await call('event.list', { query: { after: first.next ?? '' } });
	expect(rest.items[0]?.id).toBeGreaterThan(first.items[1]?.id ?? 0);
	const follow = storedEvents(store.db);
	const woken = Promise.withResolvers<void>();
	const unlisten = await follow.listen(() => woken.resolve());
	const newest = await follow.newestId();
	await call('tenant.suspend', { params: { tenant: 'acme' }, body: { reason: 'unpaid' } });
	await woken.promise;
	const events = await follow.read({ tenantId: acme, instanceId: undefined, after: newest, limit: 10 });
	expect(events.map((event) => event.kind)).toEqual(['tenant.suspend']);
	await unlisten();
	expect((await call('tenant.resume', { params: { tenant: 'acme' } })).suspendedAt).toBeNull();
});

test('keys are made once, listed without themselves, and revoked', async () => {
	const made = await call('key.create', { body: { role: 'tenant_admin', tenant_id: 'acme', name: 'ci' } });
	expect(made.key).toMatch(/^mvm_key-[0-9a-f]{8}_[A-Za-z0-9_-]{43}$/);
	const { items } = await call('key.list', { query: { tenant_id: 'acme' } });
	expect(JSON.stringify(items)).not.toContain(made.key);
	expect((await call('key.revoke', { params: { key: made.id } })).revokedAt).not.toBeNull();
	expect(await codeOf(call('key.revoke', { params: { key: 'key-ffffffff' } }))).toBe('KEY_NOT_FOUND');
	await call('key.create', { body: { role: 'operator', tenant_id: null, name: 'root' } });
});

test('retained messages are shown to their tenant; only dead ones are sent again', async () => {
	await store.asSuperuser(
		"insert into ingress_message (tenant_id, pool_id, channel, event_id, path, headers, body, body_bytes, trace_id, state) values ('acme', 'workers', 'hook', 'e-1', '', '{}', 'hi', 2, 't', 'pending'), ('acme', 'workers', 'hook', 'e-2', '', '{}', 'hi', 2, 't', 'dead')",
	);
	const { items } = await call('ingress.list', { params: { tenant: 'acme' }, query: {} });
	expect(items.map((one) => [one.eventId, one.state])).toEqual([
		['e-2', 'dead'],
		['e-1', 'pending'],
	]);
	const [dead, pending] = items.map((one) => String(one.id));
	expect((await call('ingress.show', { params: { tenant: 'acme', message: dead ?? '' } })).bodyBase64).toBe('aGk=');
	expect(await codeOf(call('ingress.resubmit', { params: { tenant: 'acme', message: pending ?? '' } }))).toBe('CONFLICT');
	expect((await call('ingress.resubmit', { params: { tenant: 'acme', message: dead ?? '' } })).state).toBe('pending');
	expect(await codeOf(call('ingress.show', { params: { tenant: 'globex', message: dead ?? '' } }))).toBe('MESSAGE_NOT_FOUND');
	expect(await codeOf(call('ingress.show', { params: { tenant: 'acme', message: '../1' } }))).toBe('MESSAGE_NOT_FOUND');
});

test('images nobody uses go, newest of each name stay', async () => {
	images.push(revision('counter', 'f'.repeat(64)));
	images.push(revision('counter', 'e'.repeat(64)));
	expect((await call('image.gc', { body: { keep: 1 } })).removed).toEqual(['f'.repeat(64)]);
	expect((await call('image.list')).items.find((image) => image.hash === images[0]?.hash)?.usedBy).toContain('acme/workers');
});

test('an idempotency key is remembered per owner', async () => {
	const memory = storedIdempotency(store.db);
	const requestHash = randomBytes(32);
	for (const owner of ['', 'acme']) {
		expect(await memory.begin({ owner, key: 'k', requestHash })).toEqual({ kind: 'new' });
		expect(await memory.begin({ owner, key: 'k', requestHash })).toEqual({ kind: 'running' });
		await memory.finish({ owner, key: 'k', status: 201, response: { a_b: 1 } });
		expect(await memory.begin({ owner, key: 'k', requestHash })).toEqual({ kind: 'replay', status: 201, response: { a_b: 1 } });
		expect(await codeOf(memory.begin({ owner, key: 'k', requestHash: randomBytes(32) }))).toBe('IDEMPOTENCY_MISMATCH');
		await memory.forget({ owner, key: 'k' });
		expect(await memory.begin({ owner, key: 'k', requestHash })).toEqual({ kind: 'new' });
	}
});

test('a destroyed pool and tenant take their instances with them', async () => {
	const { id } = await call('instance.create', { body: { tenant_id: 'acme', pool_id: 'more' } });
	await call('pool.destroy', { params: { tenant: 'acme', pool: 'more' } });
	expect(destroyed).toContain(id);
	const left = await call('instance.create', { body: { tenant_id: 'acme', pool_id: 'workers' as PoolId } });
	await call('tenant.destroy', { params: { tenant: 'acme' } });
	expect(destroyed).toContain(left.id);
	expect((await call('tenant.list')).items.map((tenant) => tenant.id)).toEqual(['globex']);
});
