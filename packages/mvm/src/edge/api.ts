// The control API: every route of the protocol's table, served by its handler. Checks permission, parses at the door,
// remembers Idempotency-Keys, answers problems. Called by server.ts with a principal that is already known.

import { type ApiRoute, type InstanceId, MvmError, parseTenantId, ROUTES, type RouteId, type TenantId } from '@mvm/protocol';
import { type Context, Hono } from 'hono';
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.ts';
import { problemAnswer } from './answer.ts';
import type { ApiContext, Handlers, Idempotency } from './api-types.ts';
import { readJson } from './body.ts';
import { type FollowEvents, followEvents, visibleTenant } from './follow-events.ts';
import { runOnce } from './idempotency.ts';
import { type Principal, requirePermission } from './principal.ts';
import { eventStream, type ServerEvent } from './sse.ts';

export interface ApiDeps {
	readonly handlers: Handlers;
	readonly idempotency: Idempotency;
	readonly follow: FollowEvents;
	readonly clock: Clock;
	readonly log: Logger;
	readonly maxBodyBytes: number;
}

/** What server.ts knows about a request before the API sees it. */
export interface RequestIdentity {
	readonly principal: Principal;
	readonly traceId: string;
	/** Aborts when the edge takes no more requests; what would never end by itself ends then. */
	readonly ending: AbortSignal;
}

export type ApiEnv = { Bindings: RequestIdentity };
type AnyHandler = (context: ApiContext, input: { params: unknown; query: unknown; body: unknown }) => Promise<unknown>;

const CREATES: ReadonlySet<string> = new Set(['tenant.create', 'pool.create', 'instance.create', 'key.create']);

export function makeApi(deps: ApiDeps): Hono<ApiEnv> {
	const app = new Hono<ApiEnv>();
	for (const [id, route] of Object.entries(ROUTES) as [RouteId, ApiRoute][]) {
		app.on(route.method, route.path, (context) => serve(deps, id, route, context));
	}
	app.notFound((context) => problem(context, new MvmError('NOT_FOUND', `there is no ${context.req.method} ${context.req.path}`)));
	app.onError((error, context) => {
		const { status } = problemAnswer(error, '').problem;
		if (status >= 500) deps.log.error({ err: error, trace_id: context.env.traceId, path: context.req.path }, 'request failed');
		return problem(context, error);
	});
	return app;
}

function problem(context: Context<ApiEnv>, error: unknown): Response {
	const answer = problemAnswer(error, context.env.traceId);
	return new Response(`${JSON.stringify(answer.problem)}\n`, { status: answer.problem.status, headers: answer.headers });
}

async function serve(deps: ApiDeps, id: RouteId, route: ApiRoute, context: Context<ApiEnv>): Promise<Response> {
	const { principal, traceId } = context.env;
	const params = context.req.param() as Readonly<Record<string, string>>;
	const tenantId = params['tenant'] === undefined ? undefined : parseTenantId(params['tenant']);
	requirePermission(principal, route.auth, tenantId);
	const query = route.query?.parse(context.req.query(), { what: 'the query' });
	const raw = route.request === undefined ? undefined : ((await readJson(context.req.raw, deps.maxBodyBytes)) ?? {});
	const body = route.request?.parse(raw, { what: 'the body' });
	const gone = new AbortController();
	const signal = AbortSignal.any([context.req.raw.signal, gone.signal]);
	if (id === 'event.list' && wantsEvents(context, query)) {
		const after = lastEventId(context) ?? (query as { after?: string }).after;
		const asked = query as { tenantId?: TenantId; instanceId?: InstanceId };
		const filter = { tenantId: visibleTenant(principal, asked.tenantId), instanceId: asked.instanceId, after };
		const source = followEvents(deps, { filter, signal: AbortSignal.any([signal, context.env.ending]) });
		return eventStream(source, { clock: deps.clock, abort: () => gone.abort() });
	}
	const handler = deps.handlers[id] as unknown as AnyHandler;
	const run = (progress: (line: string) => void) => {
		const key = route.method === 'GET' ? undefined : context.req.header('idempotency-key');
		const owner = principal.role === 'operator' ? '' : principal.tenantId;
		return runOnce(deps.idempotency, { owner, key, request: [id, params, raw ?? null] }, async () => {
			const value = await handler({ principal, traceId, signal, progress }, { params, query, body });
			return { status: CREATES.has(id) ? 201 : 200, body: route.response.encode(value as never) };
		});
	};
	if (route.method !== 'GET' && accepts(context, 'text/event-stream')) {
		return eventStream(withProgress(run, traceId), { clock: deps.clock, abort: () => gone.abort() });
	}
	const answer = await run(() => {});
	return new Response(`${JSON.stringify(answer.body)}\n`, {
		status: answer.status,
		headers: {
			'content-type': 'application/json',
			'cache-control': 'no-store',
			...(answer.replayed ? { 'idempotency-replayed': 'true' } : {}),
		},
	});
}

const accepts = (context: Context<ApiEnv>, type: string): boolean => (context.req.header('accept') ?? '').includes(type);
const wantsEvents = (context: Context<ApiEnv>, query: unknown): boolean =>
	accepts(context, 'text/event-stream') || (query as { follow?: string }).follow === 'true';

function lastEventId(context: Context<ApiEnv>): string | undefined {
	const id = context.req.header('last-event-id');
	return id !== undefined && /^\d{1,16}$/.test(id) ? id : undefined;
}

/** A long request as events: `progress` lines, then one `result` or one `problem`. */
async function* withProgress(
	run: (progress: (line: string) => void) => Promise<{ body: unknown }>,
	traceId: string,
): AsyncGenerator<ServerEvent> {
	const lines: string[] = [];
	let wake = Promise.withResolvers<void>();
	let last: ServerEvent | undefined;
	const done = run((line) => {
		lines.push(line);
		wake.resolve();
	})
		.then(
			(answer) => ({ event: 'result', data: answer.body }),
			(error) => ({ event: 'problem', data: problemAnswer(error, traceId).problem }),
		)
		.then((event) => {
			last = event;
			wake.resolve();
		});
	while (last === undefined || lines.length > 0) {
		for (const line of lines.splice(0)) yield { event: 'progress', data: { line } };
		if (last !== undefined) break;
		await wake.promise;
		wake = Promise.withResolvers<void>();
	}
	await done;
	yield last ?? { event: 'problem', data: null };
}
