import { connect } from 'node:net';
import { ROUTES, type RouteId, routePath } from '@mvm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EdgeHarness, edgeHarness } from '../../../../test/support/edge-harness.ts';
import { startEdge } from './server.ts';

let edge: EdgeHarness;
beforeAll(async () => {
	edge = await edgeHarness();
});
afterAll(() => edge[Symbol.asyncDispose]());

const PARAMS = {
	tenant: 'acme',
	pool: 'workers',
	instance: 'i-00000001',
	secret: 'KEY',
	message: '1',
	checkpoint: 'cp-0000000000000001',
	operation: 'op-0000000000000001',
	key: 'key-00000001',
};
const routes = (Object.keys(ROUTES) as RouteId[]).map((id) => ({ id, ...ROUTES[id], at: routePath(id, PARAMS as never) }));

test('every route refuses a request without a credential, and with one that is wrong', async () => {
	expect(routes.length).toBeGreaterThan(30);
	const wrong = [undefined, 'x', edge.keys.revoked, edge.keys.admin.slice(0, -1), `${edge.keys.admin}x`];
	for (const { id, method, at } of routes) {
		const answers = await Promise.all(wrong.map((key) => edge.call(at, { method, key })));
		expect(
			answers.map((a) => a.status),
			id,
		).toEqual(wrong.map(() => 401));
		expect(answers[0]?.json, id).toMatchObject({ code: 'UNAUTHENTICATED' });
		expect(answers[0]?.headers['content-type']).toBe('application/problem+json');
	}
});

test("operators' routes refuse tenants; a tenant's routes refuse its users and other tenants", async () => {
	for (const { id, method, at, auth } of routes) {
		expect((await edge.call(at, { method, key: edge.keys.user })).status, id).toBe(403);
		if (auth === 'operator') expect((await edge.call(at, { method, key: edge.keys.admin })).status, id).toBe(403);
		if (at.includes('/acme')) expect((await edge.call(at, { method, key: edge.keys.foreign })).status, id).toBe(403);
	}
});

test('what is not a route of the API asks for a credential as well, health excepted', async () => {
	for (const path of [
		'/',
		'/v1',
		'/v1/nothing',
		'/metrics',
		'/t/acme/workers/',
		'/t/ghost/workers/',
		'/t',
		'/admin',
		'/../v1/tenants',
		'//v1/tenants',
	]) {
		expect((await edge.call(path)).status, path).toBe(401);
	}
	for (const path of ['/in/acme/hook', '/in/ghost/hook', '/in/acme', '/in/', '/in/ACME/..%2f']) {
		expect((await edge.call(path, { body: '{}' })).status, path).toBe(401);
		expect((await edge.call(path)).status, path).toBe(401);
	}
	for (const path of ['/healthz', '/readyz', '/health', '/ready']) expect((await edge.call(path)).status, path).toBe(200);
	expect((await edge.call('/metrics', { key: edge.keys.admin })).status).toBe(403);
	expect((await edge.call('/metrics', { key: edge.keys.operator })).text).toBe('mvm_up 1\n');
});

test('a key of another tenant is refused before anybody looks whether the pool is there', async () => {
	for (const path of ['/t/acme/workers/', '/t/acme/ghost/', '/t/ghost/ghost/']) {
		expect((await edge.call(path, { key: edge.keys.foreign })).status, path).toBe(403);
	}
});

test('an upgrade is refused like a request', async () => {
	const upgrade = (path: string, key?: string): Promise<string> =>
		new Promise((resolve) => {
			const socket = connect(edge.edge.address?.port ?? 0, '127.0.0.1');
			const auth = key === undefined ? '' : `authorization: Bearer ${key}\r\n`;
			socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n${auth}\r\n`);
			socket.once('data', (data) => resolve(String(data).split('\r\n', 1)[0] ?? ''));
			socket.once('close', () => socket.destroy());
		});
	expect(await upgrade('/t/acme/workers/ws')).toBe('HTTP/1.1 401 UNAUTHENTICATED');
	expect(await upgrade('/t/acme/workers/ws', edge.keys.foreign)).toBe('HTTP/1.1 403 FORBIDDEN');
	expect(await upgrade('/v1/events', edge.keys.operator)).toBe('HTTP/1.1 404 NOT_FOUND');
});

test('the admin socket is the operator; its file is for the owner only', async () => {
	edge.handlers['tenant.list'] = async (context) => {
		expect(context.principal.role).toBe('operator');
		return { items: [], next: null };
	};
	expect((await edge.call('/v1/tenants', { socketPath: edge.adminSocket })).status).toBe(200);
	const { statSync } = await import('node:fs');
	expect(statSync(edge.adminSocket).mode & 0o777).toBe(0o600);
});

test('plain HTTP on an address that others can reach is refused before anything is opened', async () => {
	const start = startEdge({} as never, { listen: { host: '0.0.0.0', port: 0 }, adminSocket: '/nonexistent/sock' });
	await expect(start).rejects.toMatchObject({ code: 'TLS_REQUIRED' });
});

test('a second platform on the same admin socket is refused', async () => {
	const second = startEdge({ api: { handlers: {} } } as never, { listen: undefined, adminSocket: edge.adminSocket });
	await expect(second).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
	expect((await edge.call('/healthz', { socketPath: edge.adminSocket })).status).toBe(200);
});
