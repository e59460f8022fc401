// HTTP/2 over one accepted link stream, with every size bounded. `to_guest`: the host is the client. `to_host`: the server.
import { type ClientHttp2Session, connect, constants, performServerHandshake, type ServerHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';

/** A stream that nobody reads holds one stream window; all of them together never fill the connection's. */
const STREAM_WINDOW_BYTES = 65_536;
const MAX_STREAMS = { toGuest: 256, toHost: 128 } as const;
const MAX_SESSION_MEMORY_MB = 64;
/** A connection in the instance that breaks off resets its stream; Node's default is 33 a second. */
const RESETS_PER_SEC = 500;
const RESET_BURST = 5000;
/** Most a guest may leave unread: what its windows allow and some control frames. */
export const MAX_PENDING_BYTES = 32 * 1024 * 1024;

const settings = (maxConcurrentStreams: number) =>
	({
		enablePush: false,
		initialWindowSize: STREAM_WINDOW_BYTES,
		maxConcurrentStreams,
		maxHeaderListSize: 8192,
	}) as const;

/** The session on which the host opens streams. */
export function openToGuest(stream: Duplex): ClientHttp2Session {
	const session = connect('http://guest', {
		createConnection: () => stream,
		maxSessionMemory: MAX_SESSION_MEMORY_MB,
		peerMaxConcurrentStreams: MAX_STREAMS.toGuest,
		settings: settings(0),
	});
	session.setLocalWindowSize(STREAM_WINDOW_BYTES * MAX_STREAMS.toGuest);
	return session;
}

/** The session on which the guest opens streams. */
export function openToHost(stream: Duplex): ServerHttp2Session {
	const session = performServerHandshake(stream, {
		maxSessionMemory: MAX_SESSION_MEMORY_MB,
		streamResetBurst: RESET_BURST,
		streamResetRate: RESETS_PER_SEC,
		settings: settings(MAX_STREAMS.toHost),
	});
	session.setLocalWindowSize(STREAM_WINDOW_BYTES * MAX_STREAMS.toHost);
	return session;
}

/** The stream ends at once in both directions; the peer sees a cancellation. */
export const CANCEL: number = constants.NGHTTP2_CANCEL;
