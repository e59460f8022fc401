import { connect } from 'node:net';
import { MvmError } from '@mvm/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type EdgeHarness, edgeHarness } from '../../../../test/support/edge-harness.ts';

let edge: EdgeHarness;
const reopen = async (over: Parameters<typeof edgeHarness>[0]): Promise<void> => {
	await edge[Symbol.asyncDispose]();
	edge = await edgeHarness(over);
};
beforeEach(async () => {
	edge = await edgeHarness();
	edge.instance.respond = (request, response) => {
		response
			.writeHead(203, { 'x-from': 'instance', 'set-cookie': 'a=b', connection: 'close' })
			.end(`${request.method} ${request.url} ${request.body}`);
	};
});
afterEach(async () => {
	const { instance } = edge;
	await edge[Symbol.asyncDispose]();
	await expect.poll(() => instance.held, { message: 'leases left open' }).toBe(0);
});
const get = (path: string, options: Parameters<EdgeHarness['call']>[1] = {}) =>
	edge.call(path, { key: edge.keys.user, ...options });

test('a request enters with pinned tenant and trace, without credentials, cookies or what the client claims', async () => {
	const answer = await get('/t/acme/workers/a/b?c=1', {
		method: 'PUT',
		body: 'hello',
		headers: {
			'x-tenant-id': 'globex',
			'x-forwarded-for': '1.2.3.4',
			forwarded: 'for=1.2.3.4',
			traceparent: '00-11111111111111111111111111111111-2222222222222222-01',
			tracestate: 'a=b',
			cookie: 's=1',
			connection: 'keep-alive, x-hop',
			'x-hop': '1',
			'x-own': 'kept',
		},
	});
	expect([answer.status, answer.text, answer.headers['x-from'], answer.headers['set-cookie']]).toEqual([
		203,
		'PUT /a/b?c=1 hello',
		'instance',
		undefined,
	]);
	const headers = edge.instance.arrived[0]?.headers ?? {};
	expect(headers).toMatchObject({
		'x-tenant-id': 'acme',
		host: '127.0.0.1:8080',
		'x-own': 'kept',
		'x-forwarded-for': '127.0.0.1',
	});
	for (const name of ['authorization', 'cookie', 'forwarded', 'tracestate', 'x-hop']) expect(headers[name], name).toBeUndefined();
	expect(headers['traceparent']).not.toContain('1111');
	expect(headers['traceparent']?.slice(3, 35)).toBe(answer.headers['traceparent']?.slice(3, 35));
	expect(edge.instance.acquired[0]).toMatchObject({ tenantId: 'acme', poolId: 'workers', why: 'request' });
});

test('an OpenClaw pool gets its own token in place of the key, and only from those who administer the tenant', async () => {
	edge.target.current = { port: 18789, adapter: 'openclaw' };
	expect((await get('/t/acme/workers/v1/models')).status).toBe(403);
	expect((await get('/t/acme/workers/', { key: edge.keys.foreign })).status).toBe(403);
	expect(edge.instance.acquired).toEqual([]);
	expect((await get('/t/acme/workers/v1/models', { key: edge.keys.admin })).status).toBe(203);
	expect(edge.instance.arrived[0]?.headers['authorization']).toBe('Bearer the-gateways-own-token');
	expect(edge.instance.arrived[0]?.headers['x-forwarded-for']).toBeUndefined();
});

test('150 first requests are held by one wake and all answered', async () => {
	const gate = Promise.withResolvers<void>();
	edge.instance.onAcquire = () => gate.promise;
	const calls = Array.from({ length: 150 }, (_, n) => get(`/t/acme/workers/${n}`));
	await expect.poll(() => edge.instance.acquired.length).toBe(150);
	gate.resolve();
	const answers = await Promise.all(calls);
	expect(answers.every((answer) => answer.status === 203)).toBe(true);
	expect(new Set(answers.map((answer) => answer.text)).size).toBe(150);
	expect(edge.instance.wakes).toBe(1);
});

test('more held requests than the bound are refused at once, and places come free again', async () => {
	await reopen({ holdLimit: 3 });
	const gate = Promise.withResolvers<void>();
	edge.instance.onAcquire = () => gate.promise;
	const held = Array.from({ length: 3 }, () => get('/t/acme/workers/'));
	await expect.poll(() => edge.instance.acquired.length).toBe(3);
	const refused = await get('/t/acme/workers/');
	expect([refused.status, refused.json['code'], refused.headers['retry-after']]).toEqual([503, 'HOLD_LIMIT', '2']);
	gate.resolve();
	expect((await Promise.all(held)).map((answer) => answer.status)).toEqual([200, 200, 200]);
	expect((await get('/t/acme/workers/')).status).toBe(200);
});

test('a wake that takes too long, fails, or leads nowhere is a clear answer', async () => {
	await reopen({ holdDeadlineMs: 60 });
	edge.instance.onAcquire = (_input, signal) =>
		new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
	expect((await get('/t/acme/workers/')).json['code']).toBe('WAKE_TIMEOUT');
	edge.instance.onAcquire = () => {
		throw new MvmError('QUOTA_EXCEEDED', 'max_running is 1');
	};
	expect((await get('/t/acme/workers/')).json).toMatchObject({ code: 'QUOTA_EXCEEDED', detail: 'max_running is 1' });
	edge.instance.onAcquire = () => {};
	edge.instance.onForward = () => {
		throw new MvmError('LINK_DOWN', 'gone');
	};
	expect((await get('/t/acme/workers/')).json['code']).toBe('LINK_DOWN');
	edge.instance.onForward = () => {};
	edge.instance.respond = (_request, response) => void response.socket?.destroy();
	expect((await get('/t/acme/workers/')).json['code']).toBe('UPSTREAM_FAILED');
	edge.target.current = { port: undefined, adapter: 'none' };
	expect((await get('/t/acme/workers/')).json['code']).toBe('UNSUPPORTED');
	edge.target.current = undefined;
	expect((await get('/t/acme/workers/')).json['code']).toBe('POOL_NOT_FOUND');
	expect((await get('/t/acme/WORKERS/')).json['code']).toBe('NOT_FOUND');
});

test('an answer streams while it is made, and a client that goes away ends it inside', async () => {
	const ended = Promise.withResolvers<void>();
	edge.instance.respond = (_request, response) => {
		response.writeHead(200).write('first');
		response.once('close', () => ended.resolve());
	};
	const answer = await edge.open('/t/acme/workers/', { key: edge.keys.user });
	expect(String((await answer.setEncoding('utf8')[Symbol.asyncIterator]().next()).value)).toBe('first');
	expect(edge.instance.held).toBe(1);
	answer.destroy();
	await ended.promise;
	await expect.poll(() => edge.instance.held).toBe(0);
});

test('a client that goes away while held gives its place back', async () => {
	edge.instance.onAcquire = (_input, signal) =>
		new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
	const gone = new AbortController();
	const call = get('/t/acme/workers/', { signal: gone.signal }).catch((error: Error) => error.name);
	await expect.poll(() => edge.instance.acquired.length).toBe(1);
	gone.abort();
	expect(await call).toBe('AbortError');
});

test('a large body goes in and out whole', async () => {
	edge.instance.respond = (request, response) => void response.end(request.body);
	const body = 'x'.repeat(3_000_000);
	expect((await get('/t/acme/workers/', { body })).text).toHaveLength(body.length);
});

test('an upgraded connection carries bytes both ways, holds the instance, and ends on both sides', async () => {
	edge.instance.server.on('upgrade', (request, socket) => {
		expect(request.headers['x-tenant-id']).toBe('acme');
		socket.write(
			'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: abc\r\n\r\nhello',
		);
		socket.on('data', (data) => socket.write(`echo ${data}`));
	});
	const socket = connect(edge.edge.address?.port ?? 0, '127.0.0.1').setEncoding('utf8');
	let text = '';
	socket.on('data', (chunk) => {
		text += chunk;
	});
	socket.write(
		`GET /t/acme/workers/ws HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${edge.keys.user}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n`,
	);
	await expect.poll(() => text).toMatch(/^HTTP\/1.1 101 [\s\S]*sec-websocket-accept: abc\r\n\r\nhello$/);
	socket.write('one');
	await expect.poll(() => text).toMatch(/helloecho one$/);
	expect(edge.instance.held).toBe(1);
	socket.destroy();
	await expect.poll(() => edge.instance.held).toBe(0);
});

test('a WebSocket to an OpenClaw gateway carries its token in the first message, and nothing hides it', async () => {
	edge.target.current = { port: 18789, adapter: 'openclaw' };
	let received = Buffer.alloc(0);
	edge.instance.server.on('upgrade', (request, socket) => {
		expect(request.headers['sec-websocket-extensions']).toBeUndefined();
		socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
		socket.on('data', (data: Buffer) => {
			received = Buffer.concat([received, data]);
		});
	});
	const message = Buffer.from('{"method":"connect"}');
	const socket = connect(edge.edge.address?.port ?? 0, '127.0.0.1');
	socket.on('error', () => {});
	const head = `GET /t/acme/workers/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${edge.keys.admin}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n`;
	// The message comes with the request: it must not get past the swap.
	socket.write(Buffer.concat([Buffer.from(head), Buffer.from([0x81, 0x80 | message.length, 0, 0, 0, 0]), message]));
	const text = (): string => {
		const mask = received.subarray(2, 6);
		return String(Buffer.from(received.subarray(6).map((byte, at) => byte ^ (mask[at % 4] ?? 0))));
	};
	await expect.poll(text).toBe('{"method":"connect","params":{"auth":{"token":"the-gateways-own-token"}}}');
	socket.destroy();
});

test('closing lets requests under way end and then takes no more', async () => {
	const gate = Promise.withResolvers<void>();
	edge.instance.onAcquire = () => gate.promise;
	const slow = get('/t/acme/workers/slow');
	await expect.poll(() => edge.instance.acquired.length).toBe(1);
	const events = await edge.open('/v1/events?follow=true', { key: edge.keys.admin });
	const followed = new Promise<void>((resolve) => events.resume().once('end', resolve));
	const closing = edge.edge.close({ signal: AbortSignal.timeout(5_000) });
	await followed; // it would never end by itself
	await expect(get('/healthz')).rejects.toThrow(/ECONNREFUSED/);
	gate.resolve();
	expect((await slow).status).toBe(203);
	await closing;
});

test('a webhook is accepted by its own secret alone, and its cap holds', async () => {
	const right = { 'x-secret': 'right' };
	expect((await edge.call('/in/acme/hook', { body: '{}', headers: right })).status).toBe(200);
	expect((await edge.call('/in/acme/hook', { body: '{}', headers: { ...right, 'x-held': '1' } })).status).toBe(202);
	expect((await edge.call('/in/acme/hook', { body: '{}', headers: { 'x-secret': 'wrong' } })).status).toBe(401);
	expect((await edge.call('/in/acme/hook', { body: 'x'.repeat(2_000), headers: right })).status).toBe(413);
	// A stranger's body is not read at all: he is refused while he still sends.
	const stranger = connect(edge.edge.address?.port ?? 0, '127.0.0.1').setEncoding('utf8');
	stranger.write('POST /in/acme/hook HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nx');
	const answer = await new Promise<string>((resolve) => stranger.once('data', resolve));
	expect(answer).toMatch(/^HTTP\/1.1 401 /);
	expect(answer).toMatch(/connection: close/i);
	stranger.destroy();
});
