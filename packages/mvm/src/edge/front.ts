// What one HTTP request becomes: health is open, `/in/` brings its own proof, everything else is authenticated first and
// then goes to the gateway, the metrics or the control API. Called by server.ts for every request of every door.
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { formatTraceparent, MvmError, newTrace, parseTraceparent, type TraceParent, toProblem } from '@mvm/protocol';
import type { Logger } from 'pino';
import { sendJson, sendProblem } from './answer.ts';
import { type ApiDeps, makeApi, type RequestIdentity } from './api.ts';
import type { Authenticate, Door } from './authenticate.ts';
import { type GatewayDeps, serveGateway, serveUpgrade } from './gateway.ts';
import { type IngressDoorDeps, serveIngress } from './ingress-door.ts';
import { requirePermission } from './principal.ts';

export interface FrontDeps {
	readonly authenticate: Authenticate;
	readonly api: ApiDeps;
	readonly gateway: GatewayDeps;
	readonly ingress: IngressDoorDeps;
	/** The Prometheus text. */
	readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
	/** Names what is not ready; empty: ready. */
	readonly notReady: () => Promise<readonly string[]>;
	readonly log: Logger;
}

export interface Front {
	serve(door: Door, request: IncomingMessage, response: ServerResponse): void;
	upgrade(door: Door, request: IncomingMessage, socket: Duplex, head: Uint8Array): void;
	/** Requests and upgraded connections under way. */
	readonly underWay: number;
	/** Ends what would never end by itself: followed events and upgraded connections. */
	end(): void;
	/** Breaks off everything under way. */
	abort(): void;
}

const HEALTH = new Set(['/healthz', '/health']);
const READY = new Set(['/readyz', '/ready']);

export function makeFront(deps: FrontDeps): Front {
	const app = makeApi(deps.api);
	const identities = new WeakMap<IncomingMessage, RequestIdentity>();
	const api = getRequestListener((request, env) => {
		const identity = identities.get((env as { incoming: IncomingMessage }).incoming);
		if (identity === undefined) throw new Error('a request reached the control API without a principal');
		return app.fetch(request, identity);
	});
	const stop = new AbortController();
	const ending = new AbortController();
	let underWay = 0;

	const route = async (door: Door, request: IncomingMessage, response: ServerResponse, trace: TraceParent): Promise<void> => {
		const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
		if (HEALTH.has(path)) return sendJson(response, 200, { status: 'ok' });
		if (READY.has(path)) {
			const missing = await deps.notReady();
			return sendJson(response, missing.length === 0 ? 200 : 503, { ready: missing.length === 0, not_ready: missing });
		}
		if (path.startsWith('/in/')) return serveIngress(deps.ingress, request, response, trace.traceId);
		const principal = await deps.authenticate(door, request.headers);
		if (path === '/t' || path.startsWith('/t/')) {
			const signal = AbortSignal.any([stop.signal, closedBefore(response)]);
			return serveGateway(deps.gateway, { request, principal, traceId: trace.traceId, signal }, response);
		}
		if (path === '/metrics') {
			requirePermission(principal, 'operator', undefined);
			const { contentType, text } = await deps.metrics();
			response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(text);
			return;
		}
		identities.set(request, { principal, traceId: trace.traceId, ending: ending.signal });
		await api(request, response);
	};

	return {
		get underWay() {
			return underWay;
		},
		end: () => ending.abort(stopping()),
		abort: () => stop.abort(stopping()),
		serve(door, request, response) {
			underWay += 1;
			response.once('close', () => {
				underWay -= 1;
			});
			const trace = traceOf(request);
			response.setHeader('traceparent', formatTraceparent(trace));
			route(door, request, response, trace).catch((error) => {
				report(deps.log, request, error, trace.traceId);
				sendProblem(response, error, trace.traceId);
			});
		},
		upgrade(door, request, socket, head) {
			underWay += 1;
			const gone = new AbortController();
			socket.on('error', () => {}); // 'close' follows
			socket.once('close', () => {
				underWay -= 1;
				gone.abort(new MvmError('CANCELLED', 'the client went away'));
			});
			const trace = newTrace(randomBytes(24));
			const run = async (): Promise<void> => {
				const principal = await deps.authenticate(door, request.headers);
				if (!/^\/t\//.test(request.url ?? '')) throw new MvmError('NOT_FOUND', 'only /t/<tenant>/<pool>/ takes upgrades');
				const signal = AbortSignal.any([ending.signal, gone.signal]);
				await serveUpgrade(deps.gateway, { request, principal, traceId: trace.traceId, signal }, socket, head);
			};
			run().catch((error) => {
				report(deps.log, request, error, trace.traceId);
				refuseUpgrade(socket, error, trace.traceId);
			});
		},
	};

	/** The control API goes on with the caller's trace; what enters an instance starts a new one. */
	function traceOf(request: IncomingMessage): TraceParent {
		const given = request.headers['traceparent'];
		const isApi = (request.url ?? '').startsWith('/v1/');
		return (isApi && typeof given === 'string' ? parseTraceparent(given) : undefined) ?? newTrace(randomBytes(24));
	}
}

const stopping = (): MvmError => new MvmError('CANCELLED', 'the platform is stopping');

/** Aborts when the connection closes before the answer was sent whole. */
function closedBefore(response: ServerResponse): AbortSignal {
	const gone = new AbortController();
	response.once('close', () => {
		if (!response.writableFinished) gone.abort(new MvmError('CANCELLED', 'the client went away'));
	});
	return gone.signal;
}

function report(log: Logger, request: IncomingMessage, error: unknown, traceId: string): void {
	const { status, code } = toProblem(error);
	const keys = {
		err: error,
		trace_id: traceId,
		method: request.method,
		path: (request.url ?? '').split('?', 1)[0],
		status,
		code,
	};
	if (status >= 500 && code === 'INTERNAL') log.error(keys, 'request failed');
	else log.debug(keys, 'request refused');
}

function refuseUpgrade(socket: Duplex, error: unknown, traceId: string): void {
	if (socket.destroyed) return;
	const problem = toProblem(error, { traceId });
	const body = `${JSON.stringify(problem)}\n`;
	const head = [
		`HTTP/1.1 ${problem.status} ${problem.code}`,
		'content-type: application/problem+json',
		'connection: close',
		...(problem.status === 401 ? ['www-authenticate: Bearer realm="mvm"'] : []),
		`content-length: ${Buffer.byteLength(body)}`,
	];
	socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
