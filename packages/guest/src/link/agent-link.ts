// The guest's end of the link: keeps both streams connected for ever, serves what the host opens, opens streams to the host.
import { once } from 'node:events';
import {
	type ClientHttp2Session,
	type ClientHttp2Stream,
	connect,
	performServerHandshake,
	type ServerHttp2Stream,
} from 'node:http2';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { LINK_SOCKETS, type LinkHello, parseStreamPath, streamPath } from '@mvm/protocol';
import type { Log } from '../adapter.ts';
import type { IdentityHolder } from '../identity.ts';
import { openLinkStream } from './open-stream.ts';

/** A stream that nobody reads holds one stream window; the connection's holds them all, so none blocks the others. */
const STREAM_WINDOW_BYTES = 65_536;
const MAX_STREAMS = 256;
const MAX_SESSION_MEMORY_MB = 128;
/**
 * Node ends a session whose peer resets more than 33 streams a second for long. Here the peer is the host, which the guest has to
 * trust, and which resets every stream it has its answer from.
 */
const RESETS = 1_000_000;
const FIRST_RETRY_MS = 20;
const MAX_RETRY_MS = 1000;
/** A connection that lasted less does not start the back-off anew. */
const STABLE_MS = 2000;

export interface AgentLink {
	/** Begins to connect; for ever, until close(). */
	start(): void;
	/** Opens a raw stream to a port of the host, waiting for the link if need be. Rejects when the signal aborts. */
	open(port: number, options: { signal: AbortSignal; endpoint?: string }): Promise<Duplex>;
	close(): Promise<void>;
}

export interface AgentLinkDeps {
	readonly dir: string;
	readonly identity: IdentityHolder;
	readonly log: Log;
	/** Serves a stream the host opened, by port; others are refused. */
	readonly ports: ReadonlyMap<number, (stream: Duplex) => void>;
}

export function makeAgentLink(deps: AgentLinkDeps): AgentLink {
	const stop = new AbortController();
	const { signal } = stop;
	let toHost: ClientHttp2Session | undefined;
	const waiting = new Set<() => void>();

	const keep = async (
		kind: LinkHello['stream'],
		path: string,
		run: (socket: Awaited<ReturnType<typeof openLinkStream>>) => Promise<void>,
	) => {
		let retryMs = FIRST_RETRY_MS;
		let lastProblem = '';
		while (!signal.aborted) {
			try {
				const socket = await openLinkStream(path, kind, deps.identity.current(), signal);
				lastProblem = '';
				const connectedAt = performance.now();
				deps.log('info', 'link stream connected', { stream: kind, incarnation: deps.identity.current().incarnation });
				await run(socket);
				if (performance.now() - connectedAt > STABLE_MS) retryMs = FIRST_RETRY_MS;
				if (!signal.aborted) deps.log('warn', 'link stream ended', { stream: kind });
			} catch (error) {
				const why = (error as Error).message;
				if (why !== lastProblem && !signal.aborted) deps.log('warn', 'link stream not connected', { stream: kind, why });
				lastProblem = why;
			}
			await new Promise((done) => setTimeout(done, retryMs));
			retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
		}
	};

	const serve = (stream: ServerHttp2Stream, path: string): void => {
		stream.on('error', () => {});
		if (stream.destroyed || stream.closed) return;
		const handler = deps.ports.get(parseStreamPath(path) ?? 0);
		try {
			if (handler === undefined) {
				stream.respond({ ':status': 404 }, { endStream: true });
				return;
			}
			stream.respond({ ':status': 200 });
			handler(stream);
		} catch (error) {
			deps.log('error', 'link stream not served', { why: (error as Error).message });
			stream.destroy();
		}
	};

	const loops: Promise<void>[] = [];
	const start = (): void => {
		loops.push(
			keep('to_guest', join(deps.dir, LINK_SOCKETS.toGuest), async (socket) => {
				const session = performServerHandshake(socket, {
					maxSessionMemory: MAX_SESSION_MEMORY_MB,
					streamResetBurst: RESETS,
					streamResetRate: RESETS,
					settings: { initialWindowSize: STREAM_WINDOW_BYTES, maxConcurrentStreams: MAX_STREAMS, enablePush: false },
				});
				session.setLocalWindowSize(STREAM_WINDOW_BYTES * MAX_STREAMS);
				session.on('error', () => {});
				session.on('stream', (stream, headers) => serve(stream, String(headers[':path'])));
				await closed(session, signal);
			}),
			keep('to_host', join(deps.dir, LINK_SOCKETS.toHost), async (socket) => {
				const session = connect('http://host', {
					createConnection: () => socket,
					maxSessionMemory: MAX_SESSION_MEMORY_MB,
					settings: { initialWindowSize: STREAM_WINDOW_BYTES, enablePush: false },
				});
				session.setLocalWindowSize(STREAM_WINDOW_BYTES * MAX_STREAMS);
				session.on('error', () => {});
				toHost = session;
				for (const wake of [...waiting]) wake();
				await closed(session, signal);
				toHost = undefined;
			}),
		);
	};

	const session = async (options: { signal: AbortSignal }): Promise<ClientHttp2Session> => {
		for (;;) {
			if (toHost !== undefined && !toHost.destroyed && !toHost.closed) return toHost;
			if (options.signal.aborted || signal.aborted) throw new Error('the host is not connected');
			await new Promise<void>((resolve) => {
				const done = (): void => {
					waiting.delete(done);
					options.signal.removeEventListener('abort', done);
					resolve();
				};
				waiting.add(done);
				options.signal.addEventListener('abort', done, { once: true });
			});
		}
	};

	return {
		start,
		async open(port, options) {
			const headers = options.endpoint === undefined ? {} : { 'x-mvm-endpoint': options.endpoint };
			const stream: ClientHttp2Stream = (await session(options)).request(
				{ ':method': 'POST', ':path': streamPath(port), ...headers },
				{ endStream: false },
			);
			stream.on('error', () => {});
			try {
				const [answer] = (await once(stream, 'response', options)) as [{ ':status'?: number }];
				if (answer[':status'] !== 200) throw new Error(`the host answered ${answer[':status']}`);
				return stream;
			} catch (error) {
				stream.destroy();
				throw error;
			}
		},
		async close() {
			stop.abort();
			for (const wake of [...waiting]) wake();
			await Promise.all(loops);
		},
	};
}

function closed(
	session: { destroy(): void; once(event: 'close', run: () => void): unknown },
	signal: AbortSignal,
): Promise<void> {
	return new Promise((resolve) => {
		const onAbort = (): void => session.destroy();
		signal.addEventListener('abort', onAbort, { once: true });
		session.once('close', () => {
			signal.removeEventListener('abort', onAbort);
			resolve();
		});
		if (signal.aborted) onAbort();
	});
}
