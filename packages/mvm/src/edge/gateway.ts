// The gateway: streams HTTP requests and upgraded connections into an instance, holding them while it wakes. Called by
// server.ts for `/t/…`. Bytes are never gathered: both directions run with the slower side's speed, and whichever side
// goes away takes the other with it. The instance stays awake as long as the stream is open.
import { randomBytes } from 'node:crypto';
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MvmError, type PoolId, type TenantId } from '@mvm/protocol';
import type { Logger } from 'pino';
import { endToEndHeaders } from '../ingress/index.ts';
import type { Acquirer, AwakeLease } from '../orchestrator/index.ts';
import { ConnectTokenStream } from './connect-token.ts';
import {
	entryHeaders,
	type GatewayAddress,
	type GatewayTarget,
	type GatewayToken,
	parseGatewayAddress,
	requireAccess,
	requireOwnTenant,
} from './gateway-target.ts';
import type { HoldCounter } from './hold.ts';
import type { Principal } from './principal.ts';

export interface GatewayDeps {
	readonly orchestrator: Acquirer;
	/** Undefined when there is no such pool. */
	readonly findTarget: (tenantId: TenantId, poolId: PoolId) => Promise<GatewayTarget | undefined>;
	readonly gatewayToken: GatewayToken;
	readonly hold: HoldCounter;
	readonly holdDeadlineMs: number;
	readonly log: Logger;
}

interface Passage {
	readonly request: IncomingMessage;
	readonly principal: Principal;
	readonly traceId: string;
	/** Aborts when the client goes away or the edge is stopped for good. */
	readonly signal: AbortSignal;
}

interface Entry {
	readonly lease: AwakeLease;
	readonly stream: Duplex;
	readonly port: number;
	readonly path: string;
	readonly headers: OutgoingHttpHeaders;
	/** What stands in for the caller's credential; undefined when the workload has none. */
	readonly token: string | undefined;
}

const MAX_HEADER_BYTES = 64 * 1024;

/** Passes one request in and its answer out. Throws before the first byte of the answer only. */
export async function serveGateway(deps: GatewayDeps, passage: Passage, response: ServerResponse): Promise<void> {
	const { request, signal } = passage;
	await using entry = await enter(deps, passage);
	const upstream = httpRequest({
		createConnection: () => entry.stream,
		method: request.method ?? 'GET',
		path: entry.path,
		headers: { ...entry.headers, connection: 'close' },
		setHost: false,
		maxHeaderSize: MAX_HEADER_BYTES,
		signal,
	});
	upstream.once('socket', () => entry.stream.resume()); // it comes paused, and HTTP does not change that
	const answered = answerOf(upstream);
	const sending = pipeline(request, upstream).catch(() => {}); // the answer, or its absence, says what happened
	const answer = await answered;
	const { 'set-cookie': _cookie, ...headers } = endToEndHeaders(answer.headers);
	response.writeHead(answer.statusCode ?? 502, headers);
	response.flushHeaders();
	await pipeline(answer, response).catch((err) => {
		deps.log.debug({ err, trace_id: passage.traceId }, 'a stream through the gateway broke off');
		response.destroy();
	});
	upstream.destroy();
	await sending;
}

/** Passes a WebSocket (or any other upgrade) in. Throws before the first byte went out on `socket` only. */
export async function serveUpgrade(deps: GatewayDeps, passage: Passage, socket: Duplex, head: Uint8Array): Promise<void> {
	const { request, signal } = passage;
	await using entry = await enter(deps, passage);
	const upstream = httpRequest({
		createConnection: () => entry.stream,
		method: 'GET',
		path: entry.path,
		headers: upgradeHeaders(request, entry),
		setHost: false,
		maxHeaderSize: MAX_HEADER_BYTES,
		signal,
	});
	upstream.once('socket', () => entry.stream.resume());
	const switched = new Promise<[IncomingMessage, Duplex, Buffer]>((resolve, reject) => {
		upstream.once('upgrade', (answer, stream, first) => resolve([answer, stream, first]));
		upstream.once('response', (answer) => {
			answer.resume();
			reject(new MvmError('UPSTREAM_FAILED', `the instance refused the upgrade with status ${answer.statusCode}`));
		});
		upstream.once('error', (cause) => reject(brokenOff(cause)));
	});
	upstream.end();
	const [answer, stream, first] = await switched;
	socket.write(headOf(answer));
	if (first.byteLength > 0) socket.write(first);
	const swap = entry.token === undefined ? undefined : new ConnectTokenStream(entry.token, randomBytes);
	if (head.byteLength > 0) socket.unshift(head);
	const cut = (): void => {
		socket.destroy();
		stream.destroy();
	};
	signal.addEventListener('abort', cut, { once: true });
	try {
		// No upgraded protocol goes on when one side has ended, so the first end is the end of both.
		const inward = swap === undefined ? pipeline(socket, stream) : pipeline(socket, swap, stream);
		await Promise.race([inward, pipeline(stream, socket)].map((way) => way.catch(() => {})));
	} finally {
		signal.removeEventListener('abort', cut);
		cut();
	}
}

/** With a token to put into the first message, no extension may be agreed on that would hide it (compression). */
function upgradeHeaders(request: IncomingMessage, entry: Entry): OutgoingHttpHeaders {
	const { 'sec-websocket-extensions': extensions, ...headers } = entry.headers;
	const kept = entry.token === undefined && extensions !== undefined ? { 'sec-websocket-extensions': extensions } : {};
	return { ...headers, ...kept, connection: 'Upgrade', upgrade: request.headers.upgrade ?? 'websocket' };
}

/** Checks, wakes and opens the stream; disposing ends the stream and then the lease. */
async function enter(deps: GatewayDeps, passage: Passage): Promise<Entry & AsyncDisposable> {
	const address = parseGatewayAddress(passage.request.url ?? '');
	requireOwnTenant(passage.principal, address);
	const target = await deps.findTarget(address.tenantId, address.poolId);
	if (target === undefined) throw new MvmError('POOL_NOT_FOUND', `tenant ${address.tenantId} has no pool ${address.poolId}`);
	requireAccess(passage.principal, address, target);
	const { port } = target;
	if (port === undefined) {
		throw new MvmError('UNSUPPORTED', `pool ${address.poolId} takes no HTTP requests`, {
			hint: "declare ready = { port = … } in the image's workload",
		});
	}
	await using open = new AsyncDisposableStack();
	const { lease, stream } = await hold(deps, passage, address, port);
	open.use(lease);
	open.defer(() => void stream.destroy());
	stream.on('error', () => {}); // reported by the request that uses it
	const token = target.adapter === 'openclaw' ? await deps.gatewayToken(lease.instanceId) : undefined;
	if (target.adapter === 'openclaw' && token === undefined) {
		throw new MvmError('NOT_READY', 'the OpenClaw gateway of the instance has no token yet');
	}
	const headers = entryHeaders({
		request: passage.request,
		address,
		port,
		traceId: passage.traceId,
		token,
		adapter: target.adapter,
	});
	const owned = open.move();
	return { lease, stream, port, path: address.path, headers, token, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Waits for the instance within the hold's bound and deadline. */
async function hold(
	deps: GatewayDeps,
	passage: Passage,
	address: GatewayAddress,
	port: number,
): Promise<{ lease: AwakeLease; stream: Duplex }> {
	using _place = deps.hold.enter(address.tenantId, address.poolId);
	const signal = AbortSignal.any([passage.signal, AbortSignal.timeout(deps.holdDeadlineMs)]);
	try {
		const { tenantId, poolId } = address;
		const lease = await deps.orchestrator.acquire({ tenantId, poolId, why: 'request', traceId: passage.traceId }, { signal });
		try {
			return { lease, stream: await lease.forward(port, { signal }) };
		} catch (error) {
			await lease[Symbol.asyncDispose]();
			throw error;
		}
	} catch (error) {
		if (passage.signal.aborted) throw new MvmError('CANCELLED', 'the client went away', { cause: error });
		if (!signal.aborted) throw error;
		throw new MvmError('WAKE_TIMEOUT', `the instance did not wake within ${deps.holdDeadlineMs / 1000} s`, { cause: error });
	}
}

function answerOf(upstream: ReturnType<typeof httpRequest>): Promise<IncomingMessage> {
	return new Promise((resolve, reject) => {
		upstream.once('response', resolve);
		upstream.on('error', (cause) => reject(brokenOff(cause)));
	});
}

const brokenOff = (cause: unknown): MvmError =>
	new MvmError('UPSTREAM_FAILED', `the instance broke off: ${(cause as Error).message}`, { cause });

/** The answer to an upgrade as it goes to the client, hop-by-hop headers of the upgrade included. */
function headOf(answer: IncomingMessage): string {
	const lines = ['HTTP/1.1 101 Switching Protocols', 'connection: Upgrade', `upgrade: ${answer.headers.upgrade ?? 'websocket'}`];
	const { 'set-cookie': _cookie, ...headers } = endToEndHeaders(answer.headers);
	for (const [name, value] of Object.entries(headers)) {
		for (const one of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${one}`);
	}
	return `${lines.join('\r\n')}\r\n\r\n`;
}
