// Endpoints: a loopback port in an instance that the host connects to exactly one upstream. The credential is added here, on
// the host side, so that it never enters the instance. Every request is counted and recorded; bodies stream both ways.
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Endpoint, type InstanceId, MvmError, toProblem } from '@mvm/protocol';
import type { Logger } from '../platform/logger.ts';
import { serveStreams } from './http-over-stream.ts';
import { checkUpstream } from './upstream-policy.ts';

export interface EndpointTarget {
	readonly tenantId: string;
	readonly endpoint: Endpoint;
	/** The secret that the endpoint's credential names; undefined when it declares none. */
	readonly credential: string | undefined;
	/** Set when exactly one delivery or task is in flight in the instance. */
	readonly traceparent: string | undefined;
}

export interface EndpointProxyDeps {
	readonly log: Logger;
	/** Throws NOT_FOUND when the instance's pool declares no such endpoint. */
	readonly resolve: (instance: InstanceId, name: string) => Promise<EndpointTarget>;
	/** `host:port` entries through which loopback, link-local and private upstreams are allowed. */
	readonly upstreamAllow: readonly string[];
	readonly count: (outcome: string) => void;
}

interface EndpointOrigin {
	readonly instanceId: InstanceId;
	readonly endpoint: string;
}

/** Never forwarded in either direction: they belong to one connection, or claim what only the platform may say. */
const HOP_BY_HOP = [
	'connection',
	'keep-alive',
	'proxy-authenticate',
	'proxy-authorization',
	'te',
	'trailer',
	'transfer-encoding',
	'upgrade',
];
const PINNED = [
	'host',
	'x-tenant-id',
	'traceparent',
	'tracestate',
	'x-forwarded-for',
	'x-forwarded-host',
	'x-forwarded-proto',
	'forwarded',
];
const IDLE_MS = 600_000;

/** Returns a handler that serves HTTP/1.1 on a stream that a guest opened for a named endpoint. */
export function makeEndpointHandler(deps: EndpointProxyDeps): (stream: Duplex, from: EndpointOrigin) => void {
	return serveStreams<EndpointOrigin>({ idleMs: IDLE_MS }, (incoming, outgoing, from) => serve(deps, from, incoming, outgoing));
}

async function serve(
	deps: EndpointProxyDeps,
	from: EndpointOrigin,
	incoming: IncomingMessage,
	outgoing: ServerResponse,
): Promise<void> {
	try {
		const target = await deps.resolve(from.instanceId, from.endpoint);
		const url = upstreamUrl(target, incoming.url ?? '/');
		const address = await checkUpstream(url, deps.upstreamAllow);
		const answer = await send(url, address, incoming, requestHeaders(target, url, incoming));
		deps.count('forwarded');
		deps.log.debug(
			{
				instance_id: from.instanceId,
				tenant_id: target.tenantId,
				endpoint: from.endpoint,
				method: incoming.method,
				status: answer.statusCode,
			},
			'endpoint request forwarded',
		);
		outgoing.writeHead(answer.statusCode ?? 502, without(answer.headers, HOP_BY_HOP));
		await pipeline(answer, outgoing);
	} catch (error) {
		const problem = toProblem(
			error instanceof MvmError ? error : new MvmError('UPSTREAM_FAILED', 'the upstream did not answer', { cause: error }),
		);
		deps.count(problem.code);
		deps.log.warn({ err: error, instance_id: from.instanceId, endpoint: from.endpoint }, 'endpoint request failed');
		if (outgoing.headersSent) outgoing.destroy();
		else {
			outgoing.writeHead(problem.status, { 'content-type': 'application/problem+json', connection: 'close' });
			outgoing.end(JSON.stringify(problem));
		}
	}
}

/** The upstream's own path, then the request's; `as = "path"` puts the credential where the upstream says `{credential}`. */
function upstreamUrl({ endpoint, credential }: EndpointTarget, requested: string): URL {
	if (!requested.startsWith('/')) throw new MvmError('UPSTREAM_REFUSED', 'the request target must be a path');
	const base = endpoint.upstream.replace('{credential}', () => encodeURIComponent(credential ?? ''));
	const url = new URL(`${base.replace(/\/$/, '')}${requested}`);
	// Dot segments must not climb out of the path that the operator allowed.
	if (!url.pathname.startsWith(new URL(base).pathname.replace(/\/$/, '')))
		throw new MvmError('UPSTREAM_REFUSED', 'the path leaves the endpoint');
	if (endpoint.credential?.as === 'query' && endpoint.credential.name !== undefined)
		url.searchParams.set(endpoint.credential.name, credential ?? '');
	return url;
}

function requestHeaders(target: EndpointTarget, url: URL, incoming: IncomingMessage): OutgoingHttpHeaders {
	const { endpoint, credential, tenantId, traceparent } = target;
	const headers = without(incoming.headers, [...HOP_BY_HOP, ...PINNED]);
	headers['host'] = url.host;
	headers['x-tenant-id'] = tenantId;
	if (traceparent !== undefined) headers['traceparent'] = traceparent;
	if (endpoint.credential !== undefined && credential !== undefined) {
		if (endpoint.credential.as === 'bearer') headers['authorization'] = `Bearer ${credential}`;
		if (endpoint.credential.as === 'basic') headers['authorization'] = `Basic ${Buffer.from(credential).toString('base64')}`;
		if (endpoint.credential.as === 'header' && endpoint.credential.name !== undefined)
			headers[endpoint.credential.name.toLowerCase()] = credential;
	}
	return headers;
}

function without(headers: IncomingMessage['headers'], names: readonly string[]): OutgoingHttpHeaders {
	const listed = String(headers.connection ?? '')
		.split(',')
		.map((name) => name.trim().toLowerCase());
	return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name) && !listed.includes(name)));
}

/** Connects to the address that was checked, not to whatever the name resolves to a moment later. */
function send(url: URL, address: string, incoming: IncomingMessage, headers: OutgoingHttpHeaders): Promise<IncomingMessage> {
	const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
	const make = url.protocol === 'https:' ? httpsRequest : httpRequest;
	const upstream = make(url, {
		method: incoming.method ?? 'GET',
		headers,
		timeout: IDLE_MS,
		servername: url.hostname,
		lookup: (_host, options, done) => {
			const family = address.includes(':') ? 6 : 4;
			if (typeof options === 'object' && options.all === true)
				(done as unknown as (e: null, list: { address: string; family: number }[]) => void)(null, [{ address, family }]);
			else done(null, address, family);
		},
	});
	upstream.on('response', resolve);
	upstream.on('error', reject);
	upstream.on('timeout', () => upstream.destroy(new Error('upstream idle for too long')));
	incoming.on('close', () => {
		if (!incoming.complete) upstream.destroy(new Error('the instance hung up'));
	});
	pipeline(incoming, upstream).catch(reject);
	return promise;
}
