// Every route and every socket of a running platform without credentials: refused, and nothing told beyond that.

import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ROUTES } from '@mvm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import { TestPlatform } from '../support/platform.ts';
import { counterTelegram, deployCounter } from '../support/platform-deploy.ts';

/** Nobody: a uid that owns nothing of the platform. */
const STRANGER = 64_321;

let platform: TestPlatform;
let telegram: TelegramStandIn;
let instance: string;

beforeAll(async () => {
	const parts = await counterTelegram();
	telegram = parts.telegram;
	platform = await TestPlatform.start({ upstreams: [telegram.url], config: 'swap = { size_mib = 0 }' });
	const tenant = await deployCounter(platform, parts.secret, { telegram });
	({ id: instance } = await platform.until('an instance', async () =>
		(await platform.client.call('instance.list', { query: { tenantId: tenant } })).items.at(0),
	));
});
afterAll(async () => {
	await telegram?.close();
	await platform?.stop();
});

const KEYS: readonly (readonly [string, Record<string, string>])[] = [
	['no credential', {}],
	['a made-up key', { authorization: 'Bearer mvm_00000000_0123456789abcdef' }],
	['a tenant claimed by header', { 'x-tenant-id': 'counters', 'x-forwarded-user': 'root' }],
];

test.for(KEYS)('every route of the control API refuses %s', async ([, headers]) => {
	const params: Record<string, string> = { tenant: 'counters', pool: 'workers', instance, image: '0'.repeat(64) };
	const passed: string[] = [];
	for (const [id, route] of Object.entries(ROUTES)) {
		const path = route.path.replace(/:([a-z_]+)/g, (_all, name: string) => params[name] ?? 'x');
		const body = route.method === 'GET' ? {} : { body: '{}' };
		const answer = await fetch(`${platform.edge}${path}`, {
			method: route.method,
			headers: { 'content-type': 'application/json', ...headers },
			...body,
		});
		const text = await answer.text();
		if ((answer.status !== 401 && answer.status !== 403) || text.includes(instance)) passed.push(`${id}: ${answer.status}`);
	}
	expect(passed).toEqual([]);
	expect(Object.keys(ROUTES).length).toBeGreaterThan(20);
});

test('the other doors of the edge refuse as well, and health tells no names', async () => {
	const status = async (path: string, init?: RequestInit): Promise<number> =>
		(await fetch(`${platform.edge}${path}`, init)).status;
	expect(await status('/metrics')).toBe(401);
	expect(await status('/t/counters/workers/count')).toBe(401);
	expect(await status('/in/counters/telegram', { method: 'POST', body: '{"update_id":1}' })).toBe(401);
	const wrong = { method: 'POST', body: '{"update_id":1}', headers: { 'x-telegram-bot-api-secret-token': 'guess' } };
	expect(await status('/in/counters/telegram', wrong)).toBe(401);
	for (const path of ['/healthz', '/readyz', '/health', '/ready']) {
		const answer = await fetch(platform.edge + path);
		expect(answer.status, path).toBe(200);
		expect(await answer.text()).not.toContain('counters');
	}
});

test('a tenant user opens nothing of another tenant and nothing of the operator', async () => {
	await platform.client.call('tenant.create', { body: { id: 'other' as never } });
	const { key } = await platform.client.call('key.create', {
		body: { role: 'tenant_admin', tenantId: 'other' as never, name: 'other' },
	});
	const headers = { authorization: `Bearer ${key}` };
	const status = async (path: string): Promise<number> => (await fetch(platform.edge + path, { headers })).status;
	expect(await status('/v1/tenants/other')).toBe(200);
	expect(await status('/v1/tenants')).toBe(403);
	expect(await status('/v1/tenants/counters')).toBe(403);
	expect(await status('/v1/tenants/counters/secrets')).toBe(403);
	expect(await status(`/v1/instances/${instance}`)).toBe(404);
	expect(await status(`/v1/instances/${instance}/logs`)).toBe(404);
	expect(await status('/t/counters/workers/count')).toBe(403);
	expect(await status('/metrics')).toBe(403);
});

test('another user of the host reaches none of the sockets and none of the files', async () => {
	const { data, run } = platform.folders;
	const sockets = [
		'admin/mvm.sock',
		'admin/hostd.sock',
		'pg/.s.PGSQL.5432',
		...['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'].flatMap((slot) => [
			`i/${slot}/link/to-guest.sock`,
			`i/${slot}/link/to-host.sock`,
		]),
	].map((path) => join(run, path));
	const files = ['keys', 'postgres/data', 'blobs', 'hostd/slots', 'logs/daemon.log', 'swap'].map((path) => join(data, path));
	const code = `
		const net = require('net'), fs = require('fs');
		const [sockets, files] = JSON.parse(process.argv[1]);
		const open = [];
		for (const f of files) { try { fs.statSync(f).isDirectory() ? fs.readdirSync(f) : fs.readFileSync(f); open.push(f); } catch {} }
		let left = sockets.length;
		for (const s of sockets) net.connect(s).on('connect', function () { open.push(s); this.destroy(); }).on('error', () => {}).on('close', () => { if (--left === 0) console.log(JSON.stringify(open)); });
	`;
	// The staged Node: the one that runs this test may lie under a folder that others cannot enter.
	const node = join(data, 'dist');
	const found = spawnSync(
		'sh',
		[
			'-c',
			`exec setpriv --reuid ${STRANGER} --regid ${STRANGER} --clear-groups "$0"/*/bin/node -e "$1" "$2"`,
			node,
			code,
			JSON.stringify([sockets, files]),
		],
		{ encoding: 'utf8' },
	);
	expect(found.stderr).toBe('');
	expect(JSON.parse(found.stdout)).toEqual([]);
	// The same by root does connect: the sockets are there.
	const isThere = await new Promise((resolve) => {
		const socket = connect(join(run, 'admin/hostd.sock'));
		socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
		socket.once('connect', () => socket.destroy());
	});
	expect(isThere).toBe(true);
});
