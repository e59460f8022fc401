// A client of OpenClaw's gateway protocol, version 4, over Node's own WebSocket: challenge, connect, hello-ok, then calls.
// Used by mvm-openclaw's commands and by the agent's adapter. It reads what a workload says: every answer is checked, bounded in time.
import { setTimeout as delay } from 'node:timers/promises';

const PROTOCOL = 4;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 15_000;
const MAX_MESSAGE_CHARS = 26_214_400;
const MIN_RETRY_MS = 50;
const MAX_RETRY_MS = 2_000;

/** Where a gateway listens and the token it was started with. */
export interface GatewayAddress {
	/** `ws://127.0.0.1:18789` */
	readonly url: string;
	readonly token: string;
}
/** An answer with `ok: false`, or a connection that ended: `retryable` and `retryAfterMs` as the gateway said. */
export class GatewayError extends Error {
	readonly code: string;
	readonly retryable: boolean;
	readonly retryAfterMs: number | null;
	/** `details.reason` of the answer, a stable word; null when it has none. */
	readonly reason: string | null;
	constructor(
		code: string,
		message: string,
		more: { retryable?: boolean; afterMs?: number | null; reason?: string | null } = {},
	) {
		super(message);
		this.name = 'GatewayError';
		this.code = code;
		this.retryable = more.retryable ?? false;
		this.retryAfterMs = more.afterMs ?? null;
		this.reason = more.reason ?? null;
	}
}
/** An open, authenticated connection. */
export interface GatewayConnection {
	/** The gateway's version as it said in hello-ok. */
	readonly serverVersion: string;
	/** `accepting`, `preparing`, `draining` or `prepared`; follows the gateway's announcements. */
	readonly suspensionPhase: string;
	readonly closed: boolean;
	/** Rejects with GatewayError, or the signal's reason. */
	call(method: string, params: object, options: { signal: AbortSignal }): Promise<Record<string, unknown>>;
	close(): void;
}

type Waiting = { resolve: (payload: Record<string, unknown>) => void; reject: (error: Error) => void };
type Frame = Readonly<Record<string, unknown>>;

/** Connects once. A gateway that is still starting rejects with a retryable GatewayError; see `connectPatiently`. */
export async function connectGateway(address: GatewayAddress, options: { signal: AbortSignal }): Promise<GatewayConnection> {
	const signal = AbortSignal.any([options.signal, AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)]);
	signal.throwIfAborted();
	const socket = new WebSocket(address.url);
	const waiting = new Map<string, Waiting>();
	const challenged = Promise.withResolvers<void>();
	challenged.promise.catch(() => undefined);
	let closed = false;
	let calls = 0;
	let suspensionPhase = 'unknown';
	const fail = (error: Error): void => {
		closed = true;
		challenged.reject(error);
		for (const { reject } of waiting.values()) reject(error);
		waiting.clear();
		socket.close();
	};
	socket.onmessage = (event: MessageEvent): void => {
		const frame = parseFrame(event.data);
		if (frame === null) {
			fail(new GatewayError('PROTOCOL', 'the gateway sent something that is not a protocol frame'));
			return;
		}
		if (frame['type'] === 'event' && frame['event'] === 'connect.challenge') challenged.resolve();
		if (frame['type'] === 'event' && frame['event'] === 'gateway.suspension')
			suspensionPhase = String(objectAt(frame, 'payload')['phase'] ?? suspensionPhase);
		if (frame['type'] === 'res') settle(waiting, frame);
	};
	socket.onerror = (): void => fail(new GatewayError('UNREACHABLE', `no gateway at ${address.url}`, { retryable: true }));
	socket.onclose = (event: CloseEvent): void =>
		// 1013: try again later, which is how a gateway that is still starting hangs up.
		fail(new GatewayError('CLOSED', `the gateway closed the connection (${event.code})`, { retryable: event.code === 1013 }));
	const call: GatewayConnection['call'] = async (method, params, { signal: outer }) => {
		if (closed) throw new GatewayError('CLOSED', 'the connection is closed', { retryable: true });
		const id = String(++calls);
		const limit = AbortSignal.any([outer, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
		limit.throwIfAborted();
		const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>();
		waiting.set(id, { resolve, reject });
		const onAbort = (): void => {
			waiting.delete(id);
			reject(limit.reason as Error);
		};
		limit.addEventListener('abort', onAbort, { once: true });
		socket.send(JSON.stringify({ type: 'req', id, method, params }));
		try {
			return await promise;
		} finally {
			limit.removeEventListener('abort', onAbort);
		}
	};
	const onAbort = (): void => fail(signal.reason as Error);
	signal.addEventListener('abort', onAbort, { once: true });
	try {
		await challenged.promise;
		const hello = await call('connect', connectParams(address.token), { signal });
		if (hello['type'] !== 'hello-ok' || hello['protocol'] !== PROTOCOL)
			throw new GatewayError('PROTOCOL', `the gateway speaks protocol ${String(hello['protocol'])}, not ${PROTOCOL}`);
		const server = objectAt(hello, 'server');
		suspensionPhase = String(objectAt(objectAt(hello, 'snapshot'), 'suspension')['phase'] ?? 'unknown');
		return {
			serverVersion: String(server['version'] ?? 'unknown'),
			get suspensionPhase() {
				return suspensionPhase;
			},
			get closed() {
				return closed;
			},
			call,
			close: () => fail(new GatewayError('CLOSED', 'closed by this side')),
		};
	} catch (error) {
		fail(error as Error);
		throw error;
	} finally {
		signal.removeEventListener('abort', onAbort);
	}
}

/** Connects, trying again while the gateway says it is still starting or nothing listens yet; bounded by the signal. */
export async function connectPatiently(address: GatewayAddress, options: { signal: AbortSignal }): Promise<GatewayConnection> {
	for (;;) {
		try {
			return await connectGateway(address, options);
		} catch (error) {
			if (!(error instanceof GatewayError) || !error.retryable) throw error;
			const pause = Math.min(Math.max(error.retryAfterMs ?? 200, MIN_RETRY_MS), MAX_RETRY_MS);
			// What the gateway said last explains more than the abort that ends the waiting.
			await delay(pause, undefined, { signal: options.signal }).catch(() => {
				throw error;
			});
		}
	}
}

function connectParams(token: string): object {
	return {
		minProtocol: PROTOCOL,
		maxProtocol: PROTOCOL,
		client: { id: 'gateway-client', version: '1', platform: 'linux', mode: 'backend' },
		role: 'operator',
		scopes: ['operator.admin', 'operator.read', 'operator.write'],
		caps: [],
		auth: { token },
	};
}

function settle(waiting: Map<string, Waiting>, frame: Frame): void {
	const id = String(frame['id']);
	const waiter = waiting.get(id);
	if (waiter === undefined) return;
	waiting.delete(id);
	if (frame['ok'] === true) {
		waiter.resolve(objectAt(frame, 'payload'));
		return;
	}
	const error = objectAt(frame, 'error');
	const details = objectAt(error, 'details');
	const after = error['retryAfterMs'] ?? details['retryAfterMs'];
	const reason = details['reason'];
	waiter.reject(
		new GatewayError(String(error['code'] ?? 'UNKNOWN'), String(error['message'] ?? 'the gateway refused'), {
			retryable: error['retryable'] === true || error['code'] === 'UNAVAILABLE',
			afterMs: typeof after === 'number' ? after : null,
			reason: typeof reason === 'string' ? reason : null,
		}),
	);
}

function parseFrame(data: unknown): Frame | null {
	if (typeof data !== 'string' || data.length > MAX_MESSAGE_CHARS) return null;
	try {
		const value: unknown = JSON.parse(data);
		return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Frame) : null;
	} catch {
		return null;
	}
}

function objectAt(value: Frame, key: string): Record<string, unknown> {
	const found = value[key];
	return typeof found === 'object' && found !== null && !Array.isArray(found) ? (found as Record<string, unknown>) : {};
}
