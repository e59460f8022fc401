// The shape of the control API's handlers: one per route of the protocol, typed by it. Written in edge/handlers/, called by
// api.ts, faked in tests.
import type { RouteId, RouteParams, RouteQuery, RouteRequest, RouteResponse } from '@mvm/protocol';
import type { Principal } from './principal.ts';

export interface ApiContext {
	readonly principal: Principal;
	readonly traceId: string;
	/** Aborts when the client goes away. */
	readonly signal: AbortSignal;
	/** Tells a client that listens what is going on; a no-op for all others. */
	readonly progress: (line: string) => void;
}

export interface ApiInput<Id extends RouteId> {
	readonly params: RouteParams<Id>;
	readonly query: RouteQuery<Id>;
	readonly body: RouteRequest<Id>;
}

export type Handler<Id extends RouteId> = (context: ApiContext, input: ApiInput<Id>) => Promise<RouteResponse<Id>>;
export type Handlers = { readonly [Id in RouteId]: Handler<Id> };

/** What became of an Idempotency-Key before its request runs. */
export type IdempotencyClaim =
	| { readonly kind: 'new' }
	| { readonly kind: 'replay'; readonly status: number; readonly response: unknown }
	| { readonly kind: 'running' };

/** Remembers answers by key; `owner` is the tenant or '' for the operator. */
export interface Idempotency {
	/** Throws IDEMPOTENCY_MISMATCH when the key stands for another request. */
	begin(input: { readonly owner: string; readonly key: string; readonly requestHash: Uint8Array }): Promise<IdempotencyClaim>;
	finish(input: {
		readonly owner: string;
		readonly key: string;
		readonly status: number;
		readonly response: unknown;
	}): Promise<void>;
	/** The request failed: the key may be used again. */
	forget(input: { readonly owner: string; readonly key: string }): Promise<void>;
}
