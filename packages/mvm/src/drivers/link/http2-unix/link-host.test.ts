// The host's end of the link against a guest made of bare sockets and HTTP/2: streams, lives, and every way to misbehave.
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect as connectHttp2, performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { encodeFrame, FrameParser, isMvmError, LINK_SOCKETS, parseInstanceId } from '@mvm/protocol';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Clock } from '../../../ports/clock.ts';
import type { DialHandler, Link, LinkHost } from '../../../ports/link.ts';
import { makeHttp2UnixLinkHost } from './link-host.ts';

const clock: Clock = {
	now: () => Date.now(),
	monotonic: () => performance.now(),
	sleep: async () => {},
	after: (ms, run) => {
		const timer = setTimeout(run, Math.min(ms, 300));
		return () => clearTimeout(timer);
	},
};
const instanceId = parseInstanceId('i-0123abcd');
const one = { incarnation: 1, token: 'token-of-one' };
const two = { incarnation: 2, token: 'token-of-two' };
const soon = (ms = 3000): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(ms) });

let dir: string;
let host: LinkHost;
let cleanup: (() => unknown)[];
const handlers = new Map<number, DialHandler>();

beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), 'mvm-link-'));
	host = makeHttp2UnixLinkHost({ clock, log: pino({ enabled: false }) });
	cleanup = [];
	handlers.clear();
});
afterEach(async () => {
	for (const step of cleanup.reverse()) await step();
	await rm(dir, { recursive: true });
});

async function open(identity = one, previous?: typeof one): Promise<Link> {
	const wasIssued = (given: typeof one): boolean => given.incarnation === previous?.incarnation && given.token === previous.token;
	const link = await host.open({ instanceId, linkDir: dir, identity, handlers, ...(previous ? { wasIssued } : {}) });
	cleanup.push(() => link.close());
	return link;
}

async function greet(stream: 'to_guest' | 'to_host', identity: typeof one): Promise<{ socket: Socket; answer: unknown }> {
	const socket = connect(join(dir, stream === 'to_guest' ? LINK_SOCKETS.toGuest : LINK_SOCKETS.toHost));
	cleanup.push(() => socket.destroy());
	socket.on('error', () => {});
	socket.write(encodeFrame({ ...identity, stream, agent_version: 'test' }));
	const parser = new FrameParser();
	for (;;) {
		const [chunk] = (await once(socket, 'data')) as [Buffer];
		const [answer] = parser.push(chunk, { maxFrames: 1 });
		if (answer === undefined) continue;
		socket.pause();
		const rest = parser.rest();
		if (rest.length > 0) socket.unshift(rest);
		return { socket, answer };
	}
}

/** A guest that echoes on every stream; `/port/60` is never read. */
async function guest(identity = one) {
	const { socket } = await greet('to_guest', identity);
	const server = performServerHandshake(socket, { maxSessionMemory: 256, settings: { maxConcurrentStreams: 256 } });
	server.setLocalWindowSize(256 * 65_536);
	server.on('error', () => {});
	server.on('stream', (stream: ServerHttp2Stream, headers) => {
		stream.on('error', () => {});
		stream.respond({ ':status': 200 });
		if (headers[':path'] !== '/port/60') stream.pipe(stream);
	});
	const second = await greet('to_host', identity);
	const client = connectHttp2('http://host', { createConnection: () => second.socket });
	client.on('error', () => {});
	return { server, client };
}

async function echo(stream: Duplex, bytes: Uint8Array): Promise<number> {
	stream.end(bytes);
	return (await buffer(stream)).length;
}

test('bytes pass both ways and each side may end its half first', async () => {
	const link = await open();
	await guest();
	expect(await link.until(['up'], soon())).toBe('up');
	const stream = await link.dial(52, soon());
	stream.write('one ');
	expect(String((await once(stream, 'data'))[0])).toBe('one ');
	stream.end('two');
	expect(String(await buffer(stream))).toBe('two');
	expect((await stat(join(dir, LINK_SOCKETS.toGuest))).mode & 0o777).toBe(0o666);
});

test('200 parallel streams carry a quarter of a megabyte each while 40 others are never read', async () => {
	const link = await open();
	await guest();
	await link.until(['up'], soon());
	for (let n = 0; n < 40; n += 1) {
		const stuck = await link.dial(60, soon());
		stuck.write(Buffer.alloc(500_000));
	}
	const done = await Promise.all(
		Array.from({ length: 200 }, async () => echo(await link.dial(52, soon(20_000)), Buffer.alloc(262_144))),
	);
	expect(done.every((bytes) => bytes === 262_144)).toBe(true);
}, 30_000);

test('a guest that does not read holds its own stream back, not the host', async () => {
	const link = await open();
	await guest();
	await link.until(['up'], soon());
	const stuck = await link.dial(60, soon());
	let accepted = 0;
	while (stuck.write(Buffer.alloc(16_384)) && accepted < 1000) accepted += 1;
	expect(accepted).toBeLessThan(20);
	expect(await echo(await link.dial(52, soon()), Buffer.from('alive'))).toBe(5);
});

test('streams of the guest reach the handler of their port with the instance, its life and the endpoint', async () => {
	const seen: unknown[] = [];
	handlers.set(54, (stream, from) => {
		seen.push(from);
		stream.pipe(stream);
	});
	const link = await open();
	const { client } = await guest();
	await link.until(['up'], soon());
	const ask = async (path: string, headers = {}): Promise<[number | undefined, string]> => {
		const stream = client.request({ ':method': 'POST', ':path': path, ...headers }, { endStream: false });
		const status = once(stream, 'response').then(([h]) => (h as { ':status'?: number })[':status']);
		stream.end('hello');
		return [await status, String(await buffer(stream))];
	};
	expect(await ask('/port/54')).toEqual([200, 'hello']);
	expect(await ask('/port/54', { 'x-mvm-endpoint': 'model' })).toEqual([200, 'hello']);
	expect((await ask('/port/54', { 'x-mvm-endpoint': '../etc' }))[0]).toBe(404);
	expect((await ask('/port/53'))[0]).toBe(404);
	expect((await ask('/etc/passwd'))[0]).toBe(404);
	expect(seen).toEqual([
		{ instanceId, incarnation: 1 },
		{ instanceId, incarnation: 1, endpoint: 'model' },
	]);
});

test('after a new incarnation is expected the old life carries nothing but a stale dial, until acknowledged', async () => {
	handlers.set(54, (stream) => stream.pipe(stream));
	const link = await open();
	const { client } = await guest();
	await link.until(['up'], soon());
	const before = await link.dial(52, soon());
	link.expect(two);
	expect(link.state).toBe('stale');
	await once(before, 'close');
	await expect(link.dial(52, soon())).rejects.toMatchObject({ code: 'LINK_DOWN' });
	const refused = client.request({ ':method': 'POST', ':path': '/port/54' }, { endStream: false });
	refused.on('error', () => {});
	expect((await once(refused, 'response'))[0][':status']).toBe(503);
	expect(await echo(await link.dial(52, { ...soon(), allowStale: true }), Buffer.from('PostRestore'))).toBe(11);
	link.acknowledged();
	expect(link.state).toBe('up');
	expect(await echo(await link.dial(52, soon()), Buffer.from('work'))).toBe(4);
	expect((await greet('to_guest', one)).answer).toEqual({ accepted: false, reason: 'stale incarnation' });
});

test('a guest two lives behind is closed', async () => {
	const link = await open();
	await guest();
	await link.until(['up'], soon());
	link.expect(two);
	link.expect({ incarnation: 3, token: 'three' });
	await link.until(['down'], soon());
	expect((await greet('to_guest', one)).answer).toEqual({ accepted: false, reason: 'stale incarnation' });
	expect((await greet('to_guest', two)).answer).toEqual({ accepted: true });
	await link.until(['stale'], soon());
});

test.each([
	['a wrong token', { incarnation: 1, token: 'guessed' }],
	['a future incarnation', { incarnation: 9, token: 'token-of-one' }],
])('%s is refused', async (_what, identity) => {
	const link = await open();
	expect((await greet('to_guest', identity)).answer).toEqual({ accepted: false, reason: 'unknown identity' });
	expect(link.state).toBe('down');
});

test.each([
	['garbage', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
	['a frame that never ends', Buffer.alloc(5000, 1)],
	['an oversize length', Buffer.from([0x7f, 0xff, 0xff, 0xff])],
	['silence', Buffer.alloc(0)],
	['half a hello', encodeFrame({ ...one, stream: 'to_guest' }).subarray(0, 20)],
])('%s instead of a hello is closed within the deadline', async (_what, bytes) => {
	await open();
	const socket = connect(join(dir, LINK_SOCKETS.toGuest));
	socket.on('error', () => {});
	if (bytes.length > 0) socket.write(bytes);
	socket.resume();
	await once(socket, 'close');
});

test('connections without a hello are bounded and leave room again', async () => {
	await open();
	const silent = Array.from({ length: 20 }, () => connect(join(dir, LINK_SOCKETS.toGuest)));
	await Promise.all(silent.map((socket) => once(socket.on('error', () => {}).resume(), 'close')));
	expect((await greet('to_guest', one)).answer).toEqual({ accepted: true });
});

test('garbage after the hello, or a flood of streams, costs the guest its own link only', async () => {
	handlers.set(54, (stream) => void stream.resume());
	const link = await open();
	const { socket } = await greet('to_host', one);
	socket.write(Buffer.alloc(70_000, 0xaa));
	socket.resume();
	await once(socket, 'close');
	const { client } = await guest();
	await link.until(['up'], soon());
	const flood = setInterval(() => {
		for (let n = 0; n < 500 && !client.destroyed && !client.closed; n += 1) {
			const stream = client.request({ ':method': 'POST', ':path': '/port/54' }, { endStream: true });
			stream.on('error', () => {}).resume();
			stream.close(8);
		}
	}, 1);
	await new Promise((done) => client.once('close', done));
	clearInterval(flood);
	await guest();
	expect(await link.until(['up'], soon())).toBe('up');
}, 20_000);

test('a second daemon replaces the sockets and the guest comes back; a guest of an earlier life is stale', async () => {
	const first = await open();
	await guest();
	await first.until(['up'], soon());
	await first.close();
	expect(first.state).toBe('down');
	await expect(first.until(['up'], soon())).rejects.toMatchObject({ code: 'LINK_DOWN' });
	const again = await open(two, one);
	await guest(one);
	expect(await again.until(['stale', 'up'], soon())).toBe('stale');
});

test('a reconnect of the same life replaces the connection', async () => {
	const link = await open();
	const old = await guest();
	await link.until(['up'], soon());
	const closed = once(old.server, 'close');
	await guest();
	await closed;
	expect(await link.until(['up'], soon())).toBe('up');
	expect(await echo(await link.dial(52, soon()), Buffer.from('new'))).toBe(3);
});

test('waiting and dialling end with the signal', async () => {
	const link = await open();
	await expect(link.until(['up'], soon(30))).rejects.toMatchObject({ code: 'LINK_TIMEOUT' });
	const error = await link.dial(52, soon()).catch((e: unknown) => e);
	expect(isMvmError(error, 'LINK_DOWN')).toBe(true);
});
