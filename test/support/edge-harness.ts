// A whole edge for tests: real sockets in a temporary folder, scripted handlers, one scripted instance, keys of every kind.
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EventView, MvmError, parseTenantId, type RouteId } from '@mvm/protocol';
import pino from 'pino';
import {
	type Edge,
	type FollowEvents,
	type FrontDeps,
	type GatewayTarget,
	type Handler,
	type Handlers,
	HoldCounter,
	type IdempotencyClaim,
	makeAuthenticate,
	makeKeyText,
	type StoredKey,
	startEdge,
} from '../../packages/mvm/src/edge/index.ts';
import { realClock } from './real-clock.ts';
import { type ScriptedInstance, scriptedInstance } from './scripted-instance.ts';

export const acme = parseTenantId('acme');
export const globex = parseTenantId('globex');

export interface Answer {
	readonly status: number;
	readonly headers: IncomingHttpHeaders;
	readonly text: string;
	readonly json: Record<string, unknown>;
}
export interface CallOptions {
	readonly method?: string;
	readonly key?: string | undefined;
	readonly headers?: Record<string, string>;
	readonly body?: string | Uint8Array;
	readonly socketPath?: string;
	readonly signal?: AbortSignal;
}

export interface EdgeHarness extends AsyncDisposable {
	readonly edge: Edge;
	readonly adminSocket: string;
	readonly instance: ScriptedInstance;
	readonly keys: Readonly<Record<'operator' | 'admin' | 'user' | 'foreign' | 'revoked', string>>;
	readonly handlers: { -readonly [Id in RouteId]?: Handler<Id> };
	readonly target: { current: GatewayTarget | undefined };
	readonly events: EventView[];
	readonly wakeEvents: () => void;
	/** Ends the event streams that are open now. */
	readonly breakStreams: () => void;
	readonly base: string;
	call(path: string, options?: CallOptions): Promise<Answer>;
	open(path: string, options?: CallOptions): Promise<IncomingMessage>;
}

export async function edgeHarness(
	over: { readonly holdLimit?: number; readonly holdDeadlineMs?: number } = {},
): Promise<EdgeHarness> {
	const folder = mkdtempSync(join(tmpdir(), 'mvm-edge-'));
	const adminSocket = join(folder, 'mvm.sock');
	const instance = scriptedInstance();
	const stored = new Map<string, StoredKey>();
	const keyOf = (id: string, key: Omit<StoredKey, 'id' | 'hash' | 'isRevoked'>, isRevoked = false): string => {
		const { text, hash } = makeKeyText(id, crypto.getRandomValues(new Uint8Array(32)));
		stored.set(id, { id, hash, isRevoked, ...key });
		return text;
	};
	const keys = {
		operator: keyOf('key-00000001', { tenantId: null, role: 'operator' }),
		admin: keyOf('key-00000002', { tenantId: acme, role: 'tenant_admin' }),
		user: keyOf('key-00000003', { tenantId: acme, role: 'tenant_user' }),
		foreign: keyOf('key-00000004', { tenantId: globex, role: 'tenant_admin' }),
		revoked: keyOf('key-00000005', { tenantId: acme, role: 'tenant_admin' }, true),
	};
	const handlers: EdgeHarness['handlers'] = {};
	const target: { current: GatewayTarget | undefined } = { current: { port: 8080, adapter: 'none' } };
	const events: EventView[] = [];
	const listeners = new Set<() => void>();
	let isBroken = false;
	const follow: FollowEvents = {
		read: async ({ tenantId, after, limit }) => {
			if (isBroken) throw new Error('the stream breaks');
			return events.filter((e) => e.id > after && (tenantId === undefined || e.tenantId === tenantId)).slice(0, limit);
		},
		newestId: async () => events.at(-1)?.id ?? 0,
		listen: async (wake) => {
			listeners.add(wake);
			return async () => void listeners.delete(wake);
		},
	};
	const answers = new Map<string, { hash: string; answer?: { status: number; response: unknown } }>();
	const log = pino({ level: 'silent' });
	const deps: FrontDeps & { clock: typeof realClock } = {
		clock: realClock,
		log,
		authenticate: makeAuthenticate({ findKey: async (id) => stored.get(id), clock: realClock }),
		api: {
			handlers: new Proxy(handlers, {
				get: (all, id: RouteId) =>
					all[id] ??
					(() => {
						throw new MvmError('UNSUPPORTED', `${id} has no handler here`);
					}),
			}) as Handlers,
			idempotency: {
				begin: async ({ owner, key, requestHash }): Promise<IdempotencyClaim> => {
					const hash = Buffer.from(requestHash).toString('hex');
					const known = answers.get(`${owner} ${key}`);
					if (known === undefined) {
						answers.set(`${owner} ${key}`, { hash });
						return { kind: 'new' };
					}
					if (known.hash !== hash) throw new MvmError('IDEMPOTENCY_MISMATCH', 'another request');
					return known.answer === undefined ? { kind: 'running' } : { kind: 'replay', ...known.answer };
				},
				finish: async ({ owner, key, status, response }) => {
					const known = answers.get(`${owner} ${key}`);
					if (known !== undefined) known.answer = { status, response };
				},
				forget: async ({ owner, key }) => void answers.delete(`${owner} ${key}`),
			},
			follow,
			clock: realClock,
			log,
			maxBodyBytes: 64 * 1024,
		},
		gateway: {
			orchestrator: instance,
			findTarget: async (tenantId) => (tenantId === acme ? target.current : undefined),
			gatewayToken: async () => 'the-gateways-own-token',
			hold: new HoldCounter(over.holdLimit ?? 200),
			holdDeadlineMs: over.holdDeadlineMs ?? 5_000,
			log,
		},
		ingress: {
			checkSender: async (message) => {
				if (message.headers['x-secret'] !== 'right') throw new MvmError('UNAUTHENTICATED', 'no');
			},
			accept: async (message) => {
				return { outcome: message.headers['x-held'] === undefined ? 'stored' : 'held', id: 1, eventId: 'e' };
			},
			maxBodyBytes: 1024,
		},
		metrics: async () => ({ contentType: 'text/plain', text: 'mvm_up 1\n' }),
		notReady: async () => [],
	};
	const edge = await startEdge(deps, { listen: { host: '127.0.0.1', port: 0 }, adminSocket });
	const port = edge.address?.port ?? 0;
	const open = (path: string, options: CallOptions = {}): Promise<IncomingMessage> =>
		new Promise((resolve, reject) => {
			const { key, body, method = body === undefined ? 'GET' : 'POST', socketPath, signal } = options;
			const headers = { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...options.headers };
			const at = socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath };
			const request = httpRequest(
				{ ...at, path, method, headers, agent: false, ...(signal === undefined ? {} : { signal }) },
				resolve,
			);
			request.on('error', reject);
			request.end(body);
		});
	return {
		edge,
		adminSocket,
		instance,
		keys,
		handlers,
		target,
		events,
		wakeEvents: () => {
			for (const wake of listeners) wake();
		},
		base: `http://127.0.0.1:${port}`,
		breakStreams: () => {
			isBroken = true;
			for (const wake of listeners) wake();
			setImmediate(() => {
				isBroken = false;
			});
		},
		open,
		async call(path, options) {
			const answer = await open(path, options);
			let text = '';
			for await (const chunk of answer.setEncoding('utf8')) text += chunk;
			const isJson = /json/.test(answer.headers['content-type'] ?? '');
			return { status: answer.statusCode ?? 0, headers: answer.headers, text, json: isJson ? JSON.parse(text) : {} };
		},
		async [Symbol.asyncDispose]() {
			await edge.close({ signal: AbortSignal.timeout(200) });
			await instance[Symbol.asyncDispose]();
			rmSync(folder, { recursive: true, force: true });
		},
	};
}
