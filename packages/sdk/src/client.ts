// The typed client of the control API: one method per route, made from the protocol's table. What the CLI is written with
// and what users import. Depends on the protocol only.
import { setTimeout as sleep } from 'node:timers/promises';
import {
	type ApiRoute,
	EventView,
	fromProblem,
	type InstanceId,
	isMvmError,
	MvmError,
	ROUTES,
	type RouteId,
	type RouteParams,
	type RouteQuery,
	type RouteRequest,
	type RouteResponse,
	routePath,
	type TenantId,
} from '@mvm/protocol';
import { readEvents } from './events.ts';
import { type Server, Transport } from './transport.ts';

/** Everything with a default may be left out; the server fills it in and refuses what is missing. */
type Loose<T> = T extends readonly (infer Item)[]
	? readonly Loose<Item>[]
	: T extends object
		? { readonly [K in keyof T]?: Loose<T[K]> | undefined }
		: T;
type Part<Name extends string, T> = [T] extends [undefined] ? unknown : { readonly [K in Name]?: Loose<T> };
type Params<Id extends RouteId> = [keyof RouteParams<Id>] extends [never] ? unknown : { readonly params: RouteParams<Id> };

/** What a call of a route takes. */
export type CallInput<Id extends RouteId> = Params<Id> & Part<'query', RouteQuery<Id>> & Part<'body', RouteRequest<Id>>;

export interface CallOptions {
	readonly signal?: AbortSignal;
	/** Makes a repetition of the same change return the first answer. */
	readonly idempotencyKey?: string;
	/** `traceparent` of the caller. */
	readonly traceparent?: string;
	/** Told what is going on in a long request, such as an image build. */
	readonly onProgress?: (line: string) => void;
}

type GroupOf<Id extends RouteId> = Id extends `${infer Group}.${string}` ? Group : never;
type VerbsOf<Group extends string> = Extract<RouteId, `${Group}.${string}`> extends `${Group}.${infer Verb}` ? Verb : never;
type Method<Id extends RouteId> =
	unknown extends CallInput<Id>
		? (input?: CallInput<Id>, options?: CallOptions) => Promise<RouteResponse<Id>>
		: (input: CallInput<Id>, options?: CallOptions) => Promise<RouteResponse<Id>>;
type Routes = {
	readonly [Group in GroupOf<RouteId>]: {
		readonly [Verb in VerbsOf<Group>]: `${Group}.${Verb}` extends RouteId ? Method<`${Group}.${Verb}`> : never;
	};
};

export interface FollowInput {
	readonly tenantId?: TenantId | undefined;
	readonly instanceId?: InstanceId | undefined;
	/** The last event that was seen; absent: only what comes from now on. */
	readonly after?: string | undefined;
}

/** Reconnects while following wait this long, doubling up to the second number; there is no bound on their count. */
const RECONNECT_MS = [250, 5_000] as const;

/**
 * @example
 * const mvm = new MvmClient({ socketPath: '/run/mvm/admin/mvm.sock' });
 * const { items } = await mvm.routes.tenant.list();
 * const woken = await mvm.routes.instance.wake({ params: { instance: 'i-0123abcd' } });
 * for await (const event of mvm.follow({}, { signal })) console.log(event.kind);
 */
export class MvmClient {
	readonly #transport: Transport;
	/** Every route of the API by group and verb: `routes.tenant.list()`. */
	readonly routes: Routes;

	constructor(server: Server) {
		this.#transport = new Transport(server);
		const routes: Record<string, Record<string, unknown>> = {};
		for (const id of Object.keys(ROUTES) as RouteId[]) {
			const [group = '', verb = ''] = id.split('.');
			routes[group] ??= {};
			routes[group][verb] = (input: CallInput<typeof id>, options: CallOptions) => this.call(id, input, options);
		}
		this.routes = routes as unknown as Routes;
	}

	/** Calls a route. Rejects with the MvmError that the platform answered, or UPSTREAM_FAILED when it did not answer. */
	async call<Id extends RouteId>(id: Id, input: CallInput<Id>, options: CallOptions = {}): Promise<RouteResponse<Id>> {
		const route: ApiRoute = ROUTES[id];
		const parts = (input ?? {}) as { params?: RouteParams<Id>; query?: unknown; body?: unknown };
		const query = route.query === undefined ? '' : queryText(route.query.encode((parts.query ?? {}) as never));
		const exchange = {
			method: route.method,
			path: routePath(id, (parts.params ?? {}) as RouteParams<Id>) + query,
			...(route.request === undefined ? {} : { body: route.request.encode((parts.body ?? {}) as never) }),
			headers: {
				...(options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }),
				...(options.traceparent === undefined ? {} : { traceparent: options.traceparent }),
			},
			signal: options.signal,
		};
		const { onProgress } = options;
		const answer =
			onProgress === undefined || route.method === 'GET'
				? await this.#transport.json(exchange)
				: await this.#withProgress(exchange, onProgress);
		return route.response.parse(answer, { what: "the platform's answer" }) as RouteResponse<Id>;
	}

	/** Follows events as they come, over reconnects, without missing any; ends when the signal aborts. */
	async *follow(input: FollowInput, options: { readonly signal: AbortSignal }): AsyncGenerator<EventView> {
		const { signal } = options;
		let after = input.after;
		let delayMs: number = RECONNECT_MS[0];
		while (!signal.aborted) {
			try {
				after ??= await this.#newestEvent(input, signal);
				const query = queryText({ follow: 'true', tenant_id: input.tenantId, instance_id: input.instanceId, after });
				const headers = { accept: 'text/event-stream' };
				const stream = await this.#transport.open({
					method: 'GET',
					path: `${ROUTES['event.list'].path}${query}`,
					headers,
					signal,
				});
				for await (const { data, id } of readEvents(stream)) {
					after = id ?? after;
					delayMs = RECONNECT_MS[0];
					yield EventView.parse(JSON.parse(data));
				}
			} catch (error) {
				if (signal.aborted) return;
				if (isMvmError(error) && !error.entry.retryable) throw error;
			}
			// What happened before the first event of a lost connection is asked for again from the last one that was seen.
			await sleep(delayMs, undefined, { signal }).catch(() => {});
			delayMs = Math.min(RECONNECT_MS[1], delayMs * 2);
		}
	}

	/** Ends the kept connections. */
	close(): void {
		this.#transport.close();
	}

	/** Where following starts: fixed before the first connection, so that a lost one leaves no gap. */
	async #newestEvent(input: FollowInput, signal: AbortSignal): Promise<string> {
		const { items } = await this.call('event.list', { query: { ...input, after: undefined, limit: '1' } }, { signal });
		return String(items.at(-1)?.id ?? 0);
	}

	async #withProgress(exchange: Parameters<Transport['open']>[0], onProgress: (line: string) => void): Promise<unknown> {
		const headers = { ...exchange.headers, accept: 'text/event-stream' };
		const stream = await this.#transport.open({ ...exchange, headers });
		for await (const { event, data } of readEvents(stream)) {
			const value = JSON.parse(data) as { readonly line?: string };
			if (event === 'progress') onProgress(value.line ?? '');
			else if (event === 'problem') throw fromProblem(value);
			else if (event === 'result') return value;
		}
		throw new MvmError('UPSTREAM_FAILED', 'the platform ended the request without a result', {
			hint: 'it may have been stopped; the same request can be sent again',
		});
	}
}

function queryText(query: unknown): string {
	const pairs = Object.entries(query as Record<string, unknown>).filter(([, value]) => value !== undefined);
	const text = new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, String(value)])).toString();
	return text === '' ? '' : `?${text}`;
}
