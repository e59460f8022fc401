// A strict fake of the part of OpenClaw's gateway that mvm speaks with: protocol 4 handshake, restart preflight, suspension, probes.
// Only for tests of misbehaviour and timing that a real gateway does not show on demand; the real one has its own test.

import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

interface Work {
	readonly kind: string;
	readonly count: number;
	readonly message: string;
}
interface Lease {
	readonly id: string;
	readonly key: string;
	readonly drain: boolean;
	expiresAtMs: number;
}
type Params = Readonly<Record<string, unknown>>;
type Answer = { ok: true; payload: object } | { ok: false; error: object };

export interface FakeGateway {
	readonly url: string;
	readonly port: number;
	/** What it is working on; tests change it at will. */
	work: Work[];
	/** True: connects are refused as during start-up. */
	starting: boolean;
	/** The next answer to this method is text that is no frame. */
	garbleNext: string | null;
	/** Moves its clock, so that leases run out. */
	skewMs: number;
	readonly calls: string[];
	phase(): 'accepting' | 'draining' | 'prepared';
	close(): Promise<void>;
}

const LEASE_MS = 120_000;
const refuse = (code: string, message: string, more: object = {}): Answer => ({ ok: false, error: { code, message, ...more } });

/** Starts it on a free loopback port. */
export async function startFakeGateway(options: { token: string }): Promise<FakeGateway> {
	const sockets = new Set<Socket>();
	let lease: Lease | null = null;
	const now = (): number => Date.now() + fake.skewMs;
	const held = (): Lease | null => {
		if (lease !== null && lease.expiresAtMs <= now()) lease = null;
		return lease;
	};
	const http = createServer((request, response) => {
		const [status, body] = probe(request.url ?? '', fake);
		response.writeHead(status, { 'content-type': 'application/json' });
		response.end(JSON.stringify(body));
	});
	http.on('upgrade', (request: IncomingMessage, socket: Socket) => {
		sockets.add(socket);
		socket.on('close', () => sockets.delete(socket));
		socket.on('error', () => undefined);
		const accept = createHash('sha1')
			.update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
			.digest('base64');
		socket.write(`HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
		const send = (value: object | string): void => {
			if (socket.writable) socket.write(textFrame(typeof value === 'string' ? value : JSON.stringify(value)));
		};
		send({ type: 'event', event: 'connect.challenge', payload: { nonce: randomUUID(), ts: Date.now() } });
		let connected = false;
		onText(socket, (text) => {
			const frame = JSON.parse(text) as { type: string; id: string; method: string; params: Params };
			fake.calls.push(frame.method);
			if (fake.garbleNext === frame.method) {
				fake.garbleNext = null;
				send('no frame');
				return;
			}
			const answer = !connected ? connect(frame.method, frame.params) : handle(frame.method, frame.params);
			send({ type: 'res', id: frame.id, ...answer });
			if (connected || frame.method !== 'connect') return;
			connected = answer.ok;
			if (!connected) socket.end(closeFrame(fake.starting ? 1013 : 1008));
		});
	});
	const connect = (method: string, params: Params): Answer => {
		if (method !== 'connect') return refuse('INVALID_REQUEST', 'connect first');
		if (fake.starting)
			return refuse('UNAVAILABLE', 'starting', { retryable: true, retryAfterMs: 20, details: { reason: 'startup-sidecars' } });
		if (params['minProtocol'] !== 4 || params['maxProtocol'] !== 4) return refuse('INVALID_REQUEST', 'protocol mismatch');
		const client = params['client'] as { id?: string; mode?: string; version?: string; platform?: string } | undefined;
		if (client?.id !== 'gateway-client' || client.mode !== 'backend' || !client.version || !client.platform)
			return refuse('INVALID_REQUEST', 'invalid client');
		if (params['role'] !== 'operator' || !Array.isArray(params['scopes'])) return refuse('INVALID_REQUEST', 'invalid role');
		if ((params['auth'] as { token?: string } | undefined)?.token !== options.token)
			return refuse('UNAUTHORIZED', 'unauthorized');
		const snapshot = { suspension: { phase: fake.phase() } };
		return { ok: true, payload: { type: 'hello-ok', protocol: 4, server: { version: '2026.9.6' }, snapshot } };
	};
	const handle = (method: string, params: Params): Answer => {
		if (method.startsWith('gateway.suspend.')) return suspension(method.slice('gateway.suspend.'.length), params);
		if (held() !== null) return refuse('UNAVAILABLE', 'gateway is suspended', { retryable: true, retryAfterMs: 1_000 });
		if (method !== 'gateway.restart.preflight') return refuse('INVALID_REQUEST', `unknown method ${method}`);
		return { ok: true, payload: { safe: fake.work.length === 0, blockers: fake.work, summary: '' } };
	};
	const suspension = (verb: string, params: Params): Answer => {
		const current = held();
		const conflict = refuse('UNAVAILABLE', 'another gateway suspension is already prepared', {
			retryable: true,
			retryAfterMs: Math.max(0, (current?.expiresAtMs ?? 0) - now()),
			details: { reason: 'gateway-suspension-conflict' },
		});
		const shown = (of: Lease): Answer => {
			const facts = { suspensionId: of.id, expiresAtMs: of.expiresAtMs, activeCount: fake.work.length, blockers: fake.work };
			if (fake.work.length === 0) return { ok: true, payload: { status: 'ready', ...facts } };
			return { ok: true, payload: { status: 'draining', retryAfterMs: 20, ...facts } };
		};
		if (verb === 'prepare') {
			const { requestId, terminalPolicy = 'preserve', drain = false } = params;
			if (typeof requestId !== 'string' || requestId.trim() === '' || requestId.length > 128)
				return refuse('INVALID_REQUEST', 'invalid prepare params');
			const key = JSON.stringify([requestId, terminalPolicy, drain]);
			if (current !== null && current.key !== key) return conflict;
			if (current === null && drain !== true && fake.work.length > 0)
				return { ok: true, payload: { status: 'busy', retryAfterMs: 20, activeCount: fake.work.length, blockers: fake.work } };
			lease = current ?? { id: randomUUID(), key, drain: drain === true, expiresAtMs: 0 };
			lease.expiresAtMs = now() + LEASE_MS;
			return shown(lease);
		}
		const id = params['suspensionId'];
		if (typeof id !== 'string' || id.trim() === '') return refuse('INVALID_REQUEST', `invalid ${verb} params`);
		if (verb === 'status') {
			if (current === null) return { ok: true, payload: { status: 'running' } };
			return current.id === id ? shown(current) : conflict;
		}
		if (verb === 'resume') {
			if (current === null) return { ok: true, payload: { ok: true, status: 'running', resumed: false } };
			if (current.id !== id) return refuse('INVALID_REQUEST', 'gateway suspension id does not match');
			lease = null;
			return { ok: true, payload: { ok: true, status: 'running', resumed: true } };
		}
		return refuse('INVALID_REQUEST', 'unknown method');
	};
	const fake: FakeGateway = {
		url: '',
		port: 0,
		work: [],
		starting: false,
		garbleNext: null,
		skewMs: 0,
		calls: [],
		phase: () => (held() === null ? 'accepting' : fake.work.length > 0 ? 'draining' : 'prepared'),
		close: () =>
			new Promise((done) => {
				for (const socket of sockets) socket.destroy();
				http.close(() => done());
				http.closeAllConnections();
			}),
	};
	await new Promise<void>((done) => http.listen(0, '127.0.0.1', done));
	const { port } = http.address() as AddressInfo;
	return Object.assign(fake, { port, url: `ws://127.0.0.1:${port}` });
}

function probe(path: string, fake: FakeGateway): [number, object] {
	const draining = fake.phase() !== 'accepting';
	if (path === '/startupz') {
		if (fake.starting) return [503, { ok: false, status: 'starting' }];
		return draining ? [503, { ok: false, status: 'draining' }] : [200, { ok: true, status: 'started' }];
	}
	if (path === '/readyz') return [draining ? 503 : 200, { ready: !draining, failing: draining ? ['gateway-draining'] : [] }];
	return [404, {}];
}

function textFrame(text: string): Buffer {
	const body = Buffer.from(text);
	const head =
		body.length < 126 ? Buffer.from([0x81, body.length]) : Buffer.from([0x81, 126, body.length >> 8, body.length & 255]);
	return Buffer.concat([head, body]);
}
function closeFrame(code: number): Buffer {
	return Buffer.from([0x88, 2, code >> 8, code & 255]);
}

/** Unmasks the client's text frames; everything in tests is below 64 KiB and unfragmented. */
function onText(socket: Socket, handle: (text: string) => void): void {
	let buffer = Buffer.alloc(0);
	socket.on('data', (chunk: Buffer) => {
		buffer = Buffer.concat([buffer, chunk]);
		for (;;) {
			if (buffer.length < 6) return;
			const short = (buffer[1] ?? 0) & 127;
			const start = short === 126 ? 4 : 2;
			const length = short === 126 ? buffer.readUInt16BE(2) : short;
			if (buffer.length < start + 4 + length) return;
			const mask = buffer.subarray(start, start + 4);
			const body = buffer.subarray(start + 4, start + 4 + length).map((byte, at) => byte ^ (mask[at % 4] ?? 0));
			const opcode = (buffer[0] ?? 0) & 15;
			buffer = buffer.subarray(start + 4 + length);
			if (opcode === 8) socket.end(closeFrame(1000));
			else if (opcode === 1) handle(Buffer.from(body).toString());
		}
	});
}
