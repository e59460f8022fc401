// The link port: the host's end of the connection to one instance's guest agent. The daemon listens, the guest dials.
// `drivers/link/http2-unix` serves the process driver; other drivers bring their own transport behind the same shape.
import type { Duplex } from 'node:stream';
import type { InstanceId } from '@mvm/protocol';

export interface LinkIdentity {
	readonly incarnation: number;
	/** 256 random bits, base64url. Compared in constant time. */
	readonly token: string;
}

export type LinkState =
	/** No guest is connected. */
	| 'down'
	/** A guest of the previous incarnation is connected after a thaw: only PostRestore passes. */
	| 'stale'
	/** The current incarnation is connected: everything passes. */
	| 'up';

export interface Link {
	readonly instanceId: InstanceId;
	readonly state: LinkState;
	/** Resolves when the state is one of `states`; rejects with LINK_TIMEOUT when the signal aborts first. */
	until(states: readonly LinkState[], options: { signal: AbortSignal }): Promise<LinkState>;
	/** Opens one stream to a port of the guest agent (52). Rejects with LINK_DOWN when no guest is there. */
	dial(port: number, options: { signal: AbortSignal; allowStale?: boolean }): Promise<Duplex>;
	/**
	 * From now on only this identity is current. A guest that still presents the one before is `stale` until
	 * `acknowledged()`; every other identity is refused and its connections are closed.
	 */
	expect(identity: LinkIdentity): void;
	/** The guest has acknowledged PostRestore for the expected identity: the existing connection becomes `up`. */
	acknowledged(): void;
	close(): Promise<void>;
}

/** Who opened a stream: the instance is known by the socket, never by what the guest says. */
export interface DialOrigin {
	readonly instanceId: InstanceId;
	readonly incarnation: number;
	/** Name of the endpoint the stream is for (request header `x-mvm-endpoint`); absent for the instance API itself. */
	readonly endpoint?: string;
}

/** Serves one raw stream that the guest opened. Errors close the stream only. */
export type DialHandler = (stream: Duplex, from: DialOrigin) => void;

export interface LinkHost {
	/** Starts listening in `linkDir` for one instance. */
	open(input: {
		instanceId: InstanceId;
		linkDir: string;
		identity: LinkIdentity;
		/**
		 * Set after a daemon restart: a guest with an earlier identity for which this says true is `stale`, not refused, until
		 * the first `acknowledged()`. The host runs one tree per instance, so it is that tree.
		 */
		wasIssued?: (identity: LinkIdentity) => boolean;
		handlers: ReadonlyMap<number, DialHandler>;
	}): Promise<Link>;
}
