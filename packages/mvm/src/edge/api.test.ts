import type { PoolView, TenantView } from '@mvm/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { acme, type EdgeHarness, edgeHarness, globex } from '../../../../test/support/edge-harness.ts';

let edge: EdgeHarness;
beforeEach(async () => {
	edge = await edgeHarness();
});
afterEach(() => edge[Symbol.asyncDispose]());

const tenant = (id = acme): TenantView => ({
	id,
	quotas: {
		maxVcpus: 1,
		maxMemMib: 1,
		maxRunning: 1,
		maxWarm: 1,
		maxPools: 1,
		maxInstancesPerPool: 1,
		maxDiskGib: 1,
	},
	usage: { vcpus: 0, memMib: 0, running: 0, warm: 0, pools: 0, instances: 0, retainedBytes: 0 },
	suspendedAt: null,
	suspendReason: null,
	secretsEpoch: 0,
	configVersion: 1,
	conditions: [],
	createdAt: '2026-01-01T00:00:00.000Z',
});
const create = (id: string, headers: Record<string, string> = {}) =>
	edge.call('/v1/tenants', { key: edge.keys.operator, body: JSON.stringify({ id }), headers });

test('a request is parsed at the door, handled, and answered in wire spelling with the trace it came with', async () => {
	edge.handlers['tenant.create'] = async ({ traceId }, { body }) => {
		expect(traceId).toBe('0af7651916cd43dd8448eb211c80319c');
		expect(body.quotas.maxRunning).toBe(8);
		return tenant(body.id);
	};
	const answer = await create('acme', { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
	expect(answer.status).toBe(201);
	expect(answer.json).toMatchObject({ id: 'acme', quotas: { max_mem_mib: 1 }, suspended_at: null });
	expect(answer.headers['traceparent']).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/);
});

test('every problem of a body is named with its path; bodies that are no JSON or too large are refused', async () => {
	const bad = await edge.call('/v1/tenants', {
		key: edge.keys.operator,
		body: JSON.stringify({ id: 'NO', quotas: { max_running: -1 }, extra: 1 }),
	});
	expect(bad.status).toBe(400);
	const { problems } = bad.json['details'] as { problems: { path: string }[] };
	expect(problems.map((p) => p.path).sort()).toEqual(['extra', 'id', 'quotas.max_running']);
	expect((await edge.call('/v1/tenants', { key: edge.keys.operator, body: '{' })).json['code']).toBe('INVALID_DOCUMENT');
	expect((await edge.call('/v1/tenants', { key: edge.keys.operator, body: 'x'.repeat(70_000) })).json['code']).toBe(
		'BODY_TOO_LARGE',
	);
	expect((await edge.call('/v1/tenants/NOPE', { key: edge.keys.operator })).json['code']).toBe('INVALID_ID');
	expect((await edge.call('/v1/instances?bogus=1', { key: edge.keys.admin })).json['code']).toBe('INVALID_DOCUMENT');
});

test('an Idempotency-Key runs a request once; another request under it is refused; a failure frees it', async () => {
	let runs = 0;
	let fails = true;
	edge.handlers['tenant.create'] = async (_context, { body }) => {
		runs += 1;
		if (fails) throw new Error('a bug');
		return tenant(body.id);
	};
	const key = { 'idempotency-key': 'k-1' };
	const failed = await create('acme', key);
	expect(failed.status).toBe(500);
	expect(failed.json).toMatchObject({ code: 'INTERNAL', trace_id: expect.stringMatching(/^[0-9a-f]{32}$/) });
	expect(failed.text).not.toContain('a bug');
	fails = false;
	expect((await create('acme', key)).status).toBe(201);
	const again = await create('acme', key);
	expect([again.status, again.headers['idempotency-replayed'], again.json['id'], runs]).toEqual([201, 'true', 'acme', 2]);
	expect((await create('globex', key)).json['code']).toBe('IDEMPOTENCY_MISMATCH');
	expect((await create('acme', { 'idempotency-key': ' ' })).json['code']).toBe('INVALID_DOCUMENT');
});

test('a handler sees the principal, and a client that goes away aborts its signal', async () => {
	const aborted = Promise.withResolvers<string>();
	const reached = Promise.withResolvers<void>();
	edge.handlers['pool.list'] = async ({ principal, signal }) => {
		reached.resolve();
		await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
		aborted.resolve(principal.actor);
		return { items: [] as PoolView[], next: null };
	};
	const gone = new AbortController();
	const call = edge.call('/v1/tenants/acme/pools', { key: edge.keys.admin, signal: gone.signal }).catch(() => {});
	await reached.promise;
	gone.abort();
	expect(await aborted.promise).toBe('key:key-00000002');
	await call;
});

test('a long request streams its progress and ends with its result or its problem', async () => {
	edge.handlers['image.gc'] = async ({ progress }, { body }) => {
		progress('looking');
		await new Promise((resolve) => setImmediate(resolve));
		progress('removing');
		if (body.keep === 0) throw new Error('no');
		return { removed: ['a'] };
	};
	const run = (keep: number) =>
		edge.call('/v1/images/gc', {
			key: edge.keys.operator,
			body: JSON.stringify({ keep }),
			headers: { accept: 'text/event-stream' },
		});
	const good = await run(1);
	expect(good.headers['content-type']).toBe('text/event-stream');
	expect(good.text).toContain(
		'event: progress\ndata: {"line":"looking"}\n\nevent: progress\ndata: {"line":"removing"}\n\nevent: result\ndata: {"removed":["a"]}\n\n',
	);
	expect((await run(0)).text).toMatch(/event: problem\ndata: \{.*"code":"INTERNAL"/);
});

test('events are followed from the cursor, in order, and only the own ones of a tenant', async () => {
	const event = (id: number, tenantId = acme) => ({
		id,
		tenantId,
		poolId: null,
		instanceId: null,
		kind: 'instance.woke',
		detail: {},
		traceId: null,
		at: new Date().toISOString(),
	});
	edge.events.push(event(1), event(2), event(4));
	const stream = await edge.open('/v1/events?follow=true&after=0', { key: edge.keys.admin, headers: { 'last-event-id': '1' } });
	expect(stream.headers['content-type']).toBe('text/event-stream');
	let text = '';
	stream.setEncoding('utf8').on('data', (chunk) => {
		text += chunk;
	});
	stream.on('error', () => {});
	const ids = () => [...text.matchAll(/^id: (\d+)$/gm)].map((m) => Number(m[1]));
	await expect.poll(ids).toEqual([2, 4]);
	edge.events.push(event(5), event(6, globex), event(7));
	edge.wakeEvents();
	await expect.poll(ids).toEqual([2, 4, 5, 7]);
	edge.events.splice(2, 0, event(3)); // its transaction ended after the one of a larger number
	edge.wakeEvents();
	await expect.poll(ids).toEqual([2, 4, 5, 7, 3]);
	stream.destroy();
	expect((await edge.call('/v1/events?follow=true&tenant_id=globex', { key: edge.keys.admin })).status).toBe(403);
});
