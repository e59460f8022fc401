// The control API as data: the edge serves it, the SDK calls it, the OpenAPI document is made from it.
// POST, PUT, PATCH and DELETE take an `Idempotency-Key`; errors are problem+json; `/v1/events` also speaks SSE.
import * as z from 'zod/mini';
import { type Codec, type CodecValue, codec } from '../codec/codec.ts';
import { INSTANCE_STATES, MESSAGE_STATES } from '../documents/instance.ts';
import { DesiredCounts, PoolSpec } from '../documents/pool.ts';
import { Quotas } from '../documents/quotas.ts';
import { InstanceIdSchema, PoolIdSchema, TenantIdSchema } from '../ids.ts';
import {
	DeployRequest,
	DeployResult,
	DoctorReport,
	HostInfo,
	ImageBuild,
	ImageGc,
	ImageGcResult,
	ImageView,
} from './host-views.ts';
import {
	ActionResult,
	CheckpointView,
	EventView,
	InstanceLogs,
	InstanceStats,
	InstanceView,
	OperationView,
	WakeResult,
} from './instance-views.ts';
import {
	ApiKeyCreate,
	ApiKeyCreated,
	ApiKeyView,
	AuditEntryView,
	AuditVerifyResult,
	IngressMessageDetail,
	IngressMessageView,
	PoolView,
	SecretSet,
	SecretView,
	TenantCreate,
	TenantSuspend,
	TenantView,
} from './tenant-views.ts';

type AnyCodec = Codec<z.ZodMiniType>;

export interface ApiRoute {
	readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
	/** `:name` stands for a parameter. */
	readonly path: `/v1/${string}`;
	/** One line for help and documents. */
	readonly summary: string;
	/** `operator`: operators only. `tenant`: also administrators of the tenant it is about. */
	readonly auth: 'operator' | 'tenant';
	readonly query?: AnyCodec;
	readonly request?: AnyCodec;
	readonly response: AnyCodec;
}

/** Numbers arrive as text in a query. */
const limit = z.optional(z.string().check(z.regex(/^[1-9]\d{0,3}$/, 'must be 1 to 9999')));
const after = z.optional(z.string().check(z.regex(/^\d{1,16}$/, 'must be a number')));
const flag = z.optional(z.enum(['true', 'false']));
const query = <S extends z.core.$ZodLooseShape>(shape: S) => codec(z.strictObject(shape));
/** A list answer; `next` is the `after` of the following page, null on the last one. */
const listOf = <S extends z.ZodMiniType>(item: Codec<S>) =>
	codec(z.object({ items: z.array(item.schema), next: z._default(z.nullable(z.string()), null) }));
const nothing = codec(z.object({}));

const InstanceCreate = codec(z.strictObject({ tenant_id: TenantIdSchema, pool_id: PoolIdSchema }));
const InstanceAction = codec(
	z.strictObject({
		/** Overrides inhibitors and failing checkpoints; recorded in the audit. */
		force: z._default(z.boolean(), false),
		/** Give up after this long with TIMEOUT. */
		timeout_secs: z.optional(z.int().check(z.gte(1), z.lte(3600))),
	}),
);

export const ROUTES = {
	'tenant.create': {
		method: 'POST',
		path: '/v1/tenants',
		summary: 'Make a tenant',
		auth: 'operator',
		request: TenantCreate,
		response: TenantView,
	},
	'tenant.list': { method: 'GET', path: '/v1/tenants', summary: 'List tenants', auth: 'operator', response: listOf(TenantView) },
	'tenant.get': { method: 'GET', path: '/v1/tenants/:tenant', summary: 'Show a tenant', auth: 'tenant', response: TenantView },
	'tenant.quotas': {
		method: 'PUT',
		path: '/v1/tenants/:tenant/quotas',
		summary: "Set a tenant's quotas",
		auth: 'operator',
		request: Quotas,
		response: TenantView,
	},
	'tenant.suspend': {
		method: 'POST',
		path: '/v1/tenants/:tenant/suspend',
		summary: 'Suspend a tenant',
		auth: 'operator',
		request: TenantSuspend,
		response: TenantView,
	},
	'tenant.resume': {
		method: 'POST',
		path: '/v1/tenants/:tenant/resume',
		summary: 'End a suspension',
		auth: 'operator',
		response: TenantView,
	},
	'tenant.destroy': {
		method: 'DELETE',
		path: '/v1/tenants/:tenant',
		summary: 'Destroy a tenant with all it has',
		auth: 'operator',
		response: nothing,
	},

	'secret.set': {
		method: 'PUT',
		path: '/v1/tenants/:tenant/secrets/:secret',
		summary: 'Set a secret',
		auth: 'tenant',
		request: SecretSet,
		response: SecretView,
	},
	'secret.list': {
		method: 'GET',
		path: '/v1/tenants/:tenant/secrets',
		summary: 'List secrets without values',
		auth: 'tenant',
		response: listOf(SecretView),
	},

	'pool.create': {
		method: 'POST',
		path: '/v1/tenants/:tenant/pools',
		summary: 'Make a pool',
		auth: 'tenant',
		request: PoolSpec,
		response: PoolView,
	},
	'pool.list': {
		method: 'GET',
		path: '/v1/tenants/:tenant/pools',
		summary: 'List pools',
		auth: 'tenant',
		response: listOf(PoolView),
	},
	'pool.get': {
		method: 'GET',
		path: '/v1/tenants/:tenant/pools/:pool',
		summary: 'Show a pool',
		auth: 'tenant',
		response: PoolView,
	},
	'pool.scale': {
		method: 'PUT',
		path: '/v1/tenants/:tenant/pools/:pool/desired',
		summary: 'Set the desired counts',
		auth: 'tenant',
		request: DesiredCounts,
		response: PoolView,
	},
	'pool.destroy': {
		method: 'DELETE',
		path: '/v1/tenants/:tenant/pools/:pool',
		summary: 'Destroy a pool and its instances',
		auth: 'tenant',
		response: nothing,
	},

	'instance.create': {
		method: 'POST',
		path: '/v1/instances',
		summary: 'Make an instance',
		auth: 'tenant',
		request: InstanceCreate,
		response: InstanceView,
	},
	'instance.list': {
		method: 'GET',
		path: '/v1/instances',
		summary: 'List instances',
		auth: 'tenant',
		query: query({
			tenant_id: z.optional(TenantIdSchema),
			pool_id: z.optional(PoolIdSchema),
			state: z.optional(z.enum(INSTANCE_STATES)),
		}),
		response: listOf(InstanceView),
	},
	'instance.get': {
		method: 'GET',
		path: '/v1/instances/:instance',
		summary: 'Show an instance',
		auth: 'tenant',
		response: InstanceView,
	},
	'instance.start': {
		method: 'POST',
		path: '/v1/instances/:instance/start',
		summary: 'Boot a ready or stopped instance',
		auth: 'tenant',
		request: InstanceAction,
		response: WakeResult,
	},
	'instance.wake': {
		method: 'POST',
		path: '/v1/instances/:instance/wake',
		summary: 'Wake an instance',
		auth: 'tenant',
		request: InstanceAction,
		response: WakeResult,
	},
	'instance.warm': {
		method: 'POST',
		path: '/v1/instances/:instance/warm',
		summary: 'Freeze an instance',
		auth: 'tenant',
		request: InstanceAction,
		response: ActionResult,
	},
	'instance.sleep': {
		method: 'POST',
		path: '/v1/instances/:instance/sleep',
		summary: 'Put an instance to sleep',
		auth: 'tenant',
		request: InstanceAction,
		response: ActionResult,
	},
	'instance.stop': {
		method: 'POST',
		path: '/v1/instances/:instance/stop',
		summary: 'Stop an instance',
		auth: 'tenant',
		request: InstanceAction,
		response: ActionResult,
	},
	'instance.destroy': {
		method: 'DELETE',
		path: '/v1/instances/:instance',
		summary: 'Destroy an instance and its data',
		auth: 'tenant',
		response: nothing,
	},
	'instance.logs': {
		method: 'GET',
		path: '/v1/instances/:instance/logs',
		summary: 'Last lines of the console',
		auth: 'tenant',
		query: query({ tail_bytes: z.optional(z.string().check(z.regex(/^[1-9]\d{0,6}$/, 'must be 1 to 9999999'))) }),
		response: InstanceLogs,
	},
	'instance.stats': {
		method: 'GET',
		path: '/v1/instances/:instance/stats',
		summary: 'Memory, CPU and what the supervisor says',
		auth: 'tenant',
		response: InstanceStats,
	},

	'checkpoint.list': {
		method: 'GET',
		path: '/v1/instances/:instance/checkpoints',
		summary: "List an instance's checkpoints",
		auth: 'tenant',
		response: listOf(CheckpointView),
	},
	'checkpoint.verify': {
		method: 'POST',
		path: '/v1/checkpoints/:checkpoint/verify',
		summary: 'Verify a checkpoint',
		auth: 'tenant',
		response: CheckpointView,
	},

	'ingress.list': {
		method: 'GET',
		path: '/v1/tenants/:tenant/ingress',
		summary: 'List retained messages',
		auth: 'tenant',
		query: query({
			pool_id: z.optional(PoolIdSchema),
			channel: z.optional(z.string()),
			state: z.optional(z.enum(MESSAGE_STATES)),
			limit,
			after,
		}),
		response: listOf(IngressMessageView),
	},
	'ingress.show': {
		method: 'GET',
		path: '/v1/tenants/:tenant/ingress/:message',
		summary: 'Show a retained message',
		auth: 'tenant',
		response: IngressMessageDetail,
	},
	'ingress.resubmit': {
		method: 'POST',
		path: '/v1/tenants/:tenant/ingress/:message/resubmit',
		summary: 'Deliver a dead message again',
		auth: 'tenant',
		response: IngressMessageView,
	},

	'audit.list': {
		method: 'GET',
		path: '/v1/tenants/:tenant/audit',
		summary: 'List audit entries',
		auth: 'tenant',
		query: query({ limit, after }),
		response: listOf(AuditEntryView),
	},
	'audit.verify': {
		method: 'POST',
		path: '/v1/tenants/:tenant/audit/verify',
		summary: 'Verify the audit chain',
		auth: 'tenant',
		response: AuditVerifyResult,
	},

	'event.list': {
		method: 'GET',
		path: '/v1/events',
		summary: 'List or follow events',
		auth: 'tenant',
		query: query({
			tenant_id: z.optional(TenantIdSchema),
			instance_id: z.optional(InstanceIdSchema),
			follow: flag,
			limit,
			after,
		}),
		response: listOf(EventView),
	},
	'operation.list': {
		method: 'GET',
		path: '/v1/operations',
		summary: 'List operations',
		auth: 'tenant',
		query: query({ tenant_id: z.optional(TenantIdSchema), instance_id: z.optional(InstanceIdSchema), open: flag, limit }),
		response: listOf(OperationView),
	},
	'operation.get': {
		method: 'GET',
		path: '/v1/operations/:operation',
		summary: 'Show an operation',
		auth: 'tenant',
		response: OperationView,
	},

	'image.build': {
		method: 'POST',
		path: '/v1/images',
		summary: 'Build an image, or find it built',
		auth: 'operator',
		request: ImageBuild,
		response: ImageView,
	},
	'image.list': {
		method: 'GET',
		path: '/v1/images',
		summary: 'List image revisions',
		auth: 'operator',
		response: listOf(ImageView),
	},
	'image.gc': {
		method: 'POST',
		path: '/v1/images/gc',
		summary: 'Remove revisions nobody uses',
		auth: 'operator',
		request: ImageGc,
		response: ImageGcResult,
	},

	'deploy.apply': {
		method: 'POST',
		path: '/v1/deploy',
		summary: 'Make a tenant as a deploy file says',
		auth: 'operator',
		request: DeployRequest,
		response: DeployResult,
	},
	'deploy.plan': {
		method: 'POST',
		path: '/v1/deploy/plan',
		summary: 'Say what a deploy would change',
		auth: 'operator',
		request: DeployRequest,
		response: DeployResult,
	},

	'key.create': {
		method: 'POST',
		path: '/v1/keys',
		summary: 'Make an API key',
		auth: 'operator',
		request: ApiKeyCreate,
		response: ApiKeyCreated,
	},
	'key.list': {
		method: 'GET',
		path: '/v1/keys',
		summary: 'List API keys',
		auth: 'operator',
		query: query({ tenant_id: z.optional(TenantIdSchema) }),
		response: listOf(ApiKeyView),
	},
	'key.revoke': { method: 'DELETE', path: '/v1/keys/:key', summary: 'Revoke an API key', auth: 'operator', response: ApiKeyView },

	'host.info': {
		method: 'GET',
		path: '/v1/host',
		summary: 'Show the host and its drivers',
		auth: 'operator',
		response: HostInfo,
	},
	'host.doctor': {
		method: 'GET',
		path: '/v1/doctor',
		summary: 'Check what the host lacks',
		auth: 'operator',
		response: DoctorReport,
	},
} as const satisfies Record<string, ApiRoute>;

export type RouteId = keyof typeof ROUTES;
type RouteOf<Id extends RouteId> = (typeof ROUTES)[Id];
type NameIn<Path extends string> = Path extends `${string}:${infer Rest}`
	? Rest extends `${infer Name}/${infer More}`
		? Name | NameIn<More>
		: Rest
	: never;
/** The parameters in a route's path. */
export type RouteParams<Id extends RouteId> = { readonly [K in NameIn<RouteOf<Id>['path']>]: string };
/** What a route's request body parses to; `undefined` for a route without one. */
export type RouteRequest<Id extends RouteId> = RouteOf<Id> extends { request: infer C } ? CodecValue<C> : undefined;
export type RouteQuery<Id extends RouteId> = RouteOf<Id> extends { query: infer C } ? CodecValue<C> : undefined;
export type RouteResponse<Id extends RouteId> = CodecValue<RouteOf<Id>['response']>;

/** The path of a route with its parameters filled in and escaped. */
export function routePath<Id extends RouteId>(id: Id, params: RouteParams<Id>): string {
	const values = params as Readonly<Record<string, string>>;
	return ROUTES[id].path.replaceAll(/:([a-z]+)/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
}
