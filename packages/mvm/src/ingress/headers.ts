// Decides which headers travel: what is stored with a message, what reaches the instance, what an answer may carry.
// Used by the accept path, the delivery and the gateway. Nothing a client says about tenant or trace passes.
import type { IncomingHttpHeaders } from 'node:http';

/** RFC 9110 7.6.1, plus the ones proxies made up. */
const HOP_BY_HOP = new Set([
	'connection',
	'keep-alive',
	'proxy-authenticate',
	'proxy-authorization',
	'proxy-connection',
	'te',
	'trailer',
	'transfer-encoding',
	'upgrade',
]);

/** Set by the platform on every request into an instance, and therefore never taken from a client. */
const PINNED = new Set(['x-tenant-id', 'traceparent', 'tracestate', 'baggage', 'forwarded', 'x-real-ip']);

const isPinned = (name: string): boolean => PINNED.has(name) || name.startsWith('x-forwarded-') || name.startsWith('x-mvm-');

/** The names that the Connection header declares to be hop-by-hop. */
function declaredHops(headers: IncomingHttpHeaders): Set<string> {
	const declared = String(headers['connection'] ?? '');
	return new Set(declared.split(',').map((name) => name.trim().toLowerCase()));
}

/** A client's headers without hop-by-hop ones and without what the platform pins. Names are lower-case. */
export function endToEndHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
	const hops = declaredHops(headers);
	const kept: Record<string, string | string[]> = {};
	for (const [name, value] of Object.entries(headers)) {
		if (value === undefined || HOP_BY_HOP.has(name) || hops.has(name) || isPinned(name)) continue;
		kept[name] = value;
	}
	return kept;
}

/** What is stored with a message: no credentials, no cookies, not the sender's secret, nothing about length or host. */
export function storableHeaders(headers: IncomingHttpHeaders, secretHeader: string | undefined): Record<string, string> {
	const dropped = new Set(['authorization', 'cookie', 'content-length', 'host', 'expect', secretHeader?.toLowerCase()]);
	const kept: Record<string, string> = {};
	for (const [name, value] of Object.entries(endToEndHeaders(headers))) {
		if (!dropped.has(name)) kept[name] = Array.isArray(value) ? value.join(', ') : value;
	}
	return kept;
}
