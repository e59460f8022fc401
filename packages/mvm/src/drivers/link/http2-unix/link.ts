// One instance's link on the host: which life of the guest is connected, and the streams that run over it. Made by link-host.ts.
//
//   expect(next): current connections become stale (PostRestore only) and all their streams end; older ones are closed
//   acknowledged(): stale connections become current, the identity before is forgotten
//
// Must not look into what streams carry, and must not let one guest's misbehaviour reach beyond its own connections.
import type {
	ClientHttp2Session,
	ClientHttp2Stream,
	IncomingHttpHeaders,
	ServerHttp2Session,
	ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { type InstanceId, type LinkHello, MvmError, parseStreamPath, streamPath } from '@mvm/protocol';
import type { Logger } from 'pino';
import type { Clock } from '../../../ports/clock.ts';
import type { DialHandler, Link, LinkIdentity, LinkState } from '../../../ports/link.ts';
import { bytesOnly } from './bytes-only.ts';
import { floodGuard } from './flood-guard.ts';
import { isIdentity } from './handshake.ts';
import { CANCEL, openToGuest, openToHost } from './session.ts';

const MAX_STREAM_OPENS_PER_SEC = 5000;
const MAX_PINGS_PER_SEC = 1000;
const ENDPOINT_HEADER = 'x-mvm-endpoint';
const ENDPOINT_NAME = /^[a-z0-9]([a-z0-9._-]{0,62})$/i;

interface Connection<S> {
	readonly session: S;
	readonly streams: Set<ClientHttp2Stream | ServerHttp2Stream>;
	isStale: boolean;
}

export interface Http2LinkInput {
	readonly instanceId: InstanceId;
	readonly identity: LinkIdentity;
	readonly wasIssued?: ((identity: LinkIdentity) => boolean) | undefined;
	readonly handlers: ReadonlyMap<number, DialHandler>;
	readonly clock: Clock;
	readonly log: Logger;
	/** Stops listening; called by close(). */
	readonly stopListening: () => Promise<void>;
}

export class Http2Link implements Link {
	readonly instanceId: InstanceId;
	readonly #input: Http2LinkInput;
	#expected: LinkIdentity;
	#previous: LinkIdentity | undefined;
	#toGuest: Connection<ClientHttp2Session> | undefined;
	#toHost: Connection<ServerHttp2Session> | undefined;
	#announced: LinkState = 'down';
	#isClosed = false;
	#isAcknowledged = false;
	readonly #waiters = new Set<() => void>();

	constructor(input: Http2LinkInput) {
		this.instanceId = input.instanceId;
		this.#input = input;
		this.#expected = input.identity;
	}

	get state(): LinkState {
		if (this.#toGuest === undefined) return 'down';
		if (this.#toGuest.isStale) return 'stale';
		return this.#toHost !== undefined && !this.#toHost.isStale ? 'up' : 'down';
	}

	until(states: readonly LinkState[], { signal }: { signal: AbortSignal }): Promise<LinkState> {
		const { promise, resolve, reject } = Promise.withResolvers<LinkState>();
		const finish = (settle: () => void): void => {
			this.#waiters.delete(look);
			signal.removeEventListener('abort', onAbort);
			settle();
		};
		const look = (): void => {
			const { state } = this;
			if (states.includes(state)) finish(() => resolve(state));
			else if (this.#isClosed) finish(() => reject(this.#down('the link is closed')));
		};
		const onAbort = (): void => finish(() => reject(this.#timeout(signal)));
		this.#waiters.add(look);
		signal.addEventListener('abort', onAbort, { once: true });
		look();
		if (signal.aborted) onAbort();
		return promise;
	}

	dial(port: number, { signal, allowStale = false }: { signal: AbortSignal; allowStale?: boolean }): Promise<Duplex> {
		const connection = this.#toGuest;
		if (connection === undefined) return Promise.reject(this.#down('no guest agent is connected'));
		if (connection.isStale && !allowStale) return Promise.reject(this.#down('the guest has not taken its new incarnation yet'));
		if (signal.aborted) return Promise.reject(this.#timeout(signal));
		const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
		let stream: ClientHttp2Stream;
		try {
			stream = bytesOnly(connection.session.request({ ':method': 'POST', ':path': streamPath(port) }, { endStream: false }));
		} catch (cause) {
			return Promise.reject(this.#down('the link broke off', cause));
		}
		// Stays for the life of the stream: whoever uses it may be gone when the link breaks.
		stream.on('error', () => {});
		this.#track(connection, stream);
		const finish = (settle: () => void): void => {
			stream.off('response', onResponse).off('error', onError).off('close', onClose);
			signal.removeEventListener('abort', onAbort);
			settle();
		};
		const fail = (error: MvmError): void => {
			finish(() => reject(error));
			stream.close(CANCEL);
		};
		const onResponse = (headers: IncomingHttpHeaders & { ':status'?: number }): void => {
			if (headers[':status'] === 200) finish(() => resolve(stream));
			else fail(new MvmError('GUEST_PROTOCOL', `the guest agent refused a stream to port ${port}`));
		};
		const onError = (cause: Error): void => fail(this.#down('the guest agent refused the stream', cause));
		const onClose = (): void => fail(this.#down('the link broke off'));
		const onAbort = (): void => fail(this.#timeout(signal));
		stream.on('response', onResponse).on('error', onError).on('close', onClose);
		signal.addEventListener('abort', onAbort, { once: true });
		return promise;
	}

	expect(identity: LinkIdentity): void {
		const isSame = identity.incarnation === this.#expected.incarnation && identity.token === this.#expected.token;
		if (isSame) return;
		for (const connection of [this.#toGuest, this.#toHost]) {
			if (connection === undefined) continue;
			// It presented the identity before the one that is now replaced: two lives behind.
			if (connection.isStale) connection.session.destroy();
			connection.isStale = true;
			for (const stream of connection.streams) stream.close(CANCEL);
		}
		this.#previous = this.#expected;
		this.#expected = identity;
		this.#changed('a new incarnation is expected');
	}

	acknowledged(): void {
		this.#isAcknowledged = true;
		this.#previous = undefined;
		for (const connection of [this.#toGuest, this.#toHost]) if (connection !== undefined) connection.isStale = false;
		this.#changed('the guest took its new incarnation');
	}

	async close(): Promise<void> {
		this.#isClosed = true;
		await this.#input.stopListening();
		this.#toGuest?.session.destroy();
		this.#toHost?.session.destroy();
		this.#toGuest = undefined;
		this.#toHost = undefined;
		this.#changed('the link was closed');
	}

	/** Says why a hello is refused, or nothing when it is this instance's current or previous life. */
	refusal(hello: LinkHello): string | undefined {
		if (this.#isClosed) return 'closed';
		if (isIdentity(hello, this.#expected) || isIdentity(hello, this.#previous) || this.#isEarlierLife(hello)) return undefined;
		return hello.incarnation < this.#expected.incarnation ? 'stale incarnation' : 'unknown identity';
	}

	/** After a daemon restart only: which life the surviving guest last heard of is not known, but that it was told by us is. */
	#isEarlierLife(hello: LinkHello): boolean {
		const { wasIssued } = this.#input;
		return wasIssued !== undefined && !this.#isAcknowledged && hello.incarnation < this.#expected.incarnation && wasIssued(hello);
	}

	/** Runs HTTP/2 on a stream whose hello was accepted; replaces the connection of the same kind. */
	attach(hello: LinkHello, stream: Duplex): void {
		const isStale = !isIdentity(hello, this.#expected);
		if (hello.stream === 'to_guest') {
			const session = openToGuest(stream);
			const replaced = this.#toGuest;
			this.#toGuest = { session, streams: new Set(), isStale };
			this.#watch(this.#toGuest);
			replaced?.session.destroy();
		} else {
			const session = openToHost(stream);
			const replaced = this.#toHost;
			const connection = { session, streams: new Set<ServerHttp2Stream>(), isStale };
			this.#toHost = connection;
			this.#watch(this.#toHost);
			const mayOpen = floodGuard(this.#input.clock, MAX_STREAM_OPENS_PER_SEC);
			session.on('stream', (opened, headers) => {
				if (!mayOpen()) return this.#drop(session, 'too many streams in a second');
				this.#serve(connection, opened, headers);
			});
			replaced?.session.destroy();
		}
		this.#changed('a guest connected');
	}

	#watch(connection: Connection<ClientHttp2Session | ServerHttp2Session>): void {
		const { session } = connection;
		const mayPing = floodGuard(this.#input.clock, MAX_PINGS_PER_SEC);
		session.on('ping', () => {
			if (!mayPing()) this.#drop(session, 'too many pings in a second');
		});
		session.on('error', (error) => this.#input.log.debug({ instance_id: this.instanceId, err: error }, 'link stream failed'));
		session.on('close', () => {
			if (this.#toGuest === connection) this.#toGuest = undefined;
			if (this.#toHost === connection) this.#toHost = undefined;
			this.#changed('a link stream ended');
		});
	}

	#serve(connection: Connection<ServerHttp2Session>, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
		stream.on('error', () => {});
		// Already reset by the guest: answering it would throw.
		if (stream.destroyed || stream.closed) return;
		const handler = this.#input.handlers.get(parseStreamPath(String(headers[':path'])) ?? 0);
		const endpoint = headers[ENDPOINT_HEADER];
		const isNamed = typeof endpoint === 'string';
		const status = connection.isStale ? 503 : handler === undefined || (isNamed && !ENDPOINT_NAME.test(endpoint)) ? 404 : 200;
		stream.respond({ ':status': status }, { endStream: status !== 200 });
		if (status !== 200 || handler === undefined) return void stream.close();
		this.#track(connection, stream);
		const { instanceId } = this;
		const { incarnation } = this.#expected;
		try {
			handler(bytesOnly(stream), isNamed ? { instanceId, incarnation, endpoint } : { instanceId, incarnation });
		} catch (error) {
			this.#input.log.error({ instance_id: instanceId, err: error }, 'a link handler threw');
			stream.close(CANCEL);
		}
	}

	#track(connection: Connection<unknown>, stream: ClientHttp2Stream | ServerHttp2Stream): void {
		connection.streams.add(stream);
		stream.once('close', () => connection.streams.delete(stream));
	}

	#drop(session: ClientHttp2Session | ServerHttp2Session, why: string): void {
		if (session.destroyed) return;
		this.#input.log.warn({ instance_id: this.instanceId, why }, 'guest misbehaved, its link is closed');
		session.destroy();
	}

	#changed(why: string): void {
		const { state } = this;
		if (state !== this.#announced) {
			this.#input.log.info({ instance_id: this.instanceId, from: this.#announced, to: state, why }, 'link state changed');
			this.#announced = state;
		}
		for (const look of [...this.#waiters]) look();
	}

	#down(message: string, cause?: unknown): MvmError {
		return new MvmError('LINK_DOWN', message, { details: { instance_id: this.instanceId }, cause });
	}

	#timeout(signal: AbortSignal): MvmError {
		const details = { instance_id: this.instanceId, state: this.state };
		return new MvmError('LINK_TIMEOUT', 'the guest agent did not answer in time', { details, cause: signal.reason });
	}
}
