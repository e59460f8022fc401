// A pool's specification, as it is stored, sent over the API and derived from a deploy file.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { PathSafeNameSchema, PoolIdSchema } from '../ids.ts';
import { IntegrationEntrySchema } from './integration.ts';
import { RuntimePolicySchema, SleepPolicySchema } from './policy.ts';
import { RoleSchema } from './role.ts';
import { RouteSchema } from './routing.ts';
import { SecretNameSchema, SecretScopeSchema } from './secrets.ts';

/** The most instances one pool may want in one state. */
export const MAX_DESIRED_PER_STATE = 100;

export const DRIVERS = ['process', 'gvisor', 'qemu', 'firecracker'] as const;
export type DriverName = (typeof DRIVERS)[number];

const port = z.int().check(z.gte(1), z.lte(65_535));
const headerName = z.string().check(z.regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'must be a header name'));
/** RFC 6901. */
const jsonPointer = z.string().check(z.regex(/^(?:\/(?:[^~/]|~[01])*)+$/, 'must be a JSON pointer such as /message/id'));
const wanted = z.int().check(z.gte(0), z.lte(MAX_DESIRED_PER_STATE));

export const DesiredCountsSchema = z.strictObject({
	/** Floor kept awake. */
	running: z._default(wanted, 0),
	/** Floor kept frozen beyond that. */
	warm: z._default(wanted, 0),
	/** How many more may exist asleep. */
	sleeping: z._default(wanted, 0),
});
export type DesiredCounts = CodecValue<typeof DesiredCounts>;
export const DesiredCounts = codec(DesiredCountsSchema);

const CredentialSchema = z
	.strictObject({
		secret: SecretNameSchema,
		/** Where the host puts it in a request to the upstream. `path`: where the upstream's path says `{credential}`. */
		as: z.enum(['bearer', 'header', 'basic', 'path', 'query']),
		/** Name of the header or query parameter; only for those two. */
		name: z.optional(z.string().check(z.regex(/^[A-Za-z0-9_.-]+$/, 'must have only letters, digits, _, . and -'))),
	})
	.check(
		z.refine((c) => (c.name !== undefined) === (c.as === 'header' || c.as === 'query'), {
			error: 'is needed for as = "header" and "query", and only there',
			path: ['name'],
		}),
	);

/** Host name, address or bracketed IPv6 address; http with port and path, tcp with a port and nothing else. */
const HOST = String.raw`(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)`;
const UPSTREAM = new RegExp(String.raw`^(?:https?://${HOST}(?::\d{1,5})?(?:/[^\s?#\\]*)?|tcp://${HOST}:\d{1,5})$`);
const PLACEHOLDER = '{credential}';

export const EndpointSchema = z
	.strictObject({
		name: PathSafeNameSchema,
		/** Loopback port in the instance; the supervisor opens it without privileges. */
		guest_port: z.int().check(z.gte(1024), z.lte(65_535)),
		upstream: z.string().check(z.regex(UPSTREAM, 'must be http(s)://host[:port][/path] or tcp://host:port')),
		credential: z.optional(CredentialSchema),
	})
	.check(
		z.refine((e) => e.credential === undefined || !e.upstream.startsWith('tcp:'), {
			error: 'needs an http or https upstream',
			path: ['credential'],
		}),
		z.refine((e) => (e.credential?.as === 'path') === e.upstream.includes(PLACEHOLDER), {
			error: `has ${PLACEHOLDER} in its path for as = "path", and only then`,
			path: ['upstream'],
		}),
	);
export type Endpoint = CodecValue<typeof Endpoint>;
export const Endpoint = codec(EndpointSchema);

export const IngressChannelSchema = z.strictObject({
	/** Unique in the tenant: part of the address `/in/<tenant>/<channel>`. */
	channel: PathSafeNameSchema,
	guest_port: port,
	path: z.string().check(z.regex(/^\/[^\s?#]*$/, 'must start with / and have no ?, # or space')),
	/** The sender proves itself by this header holding the secret or, with `hmac`, a signature of the raw body under it. */
	verify: z.strictObject({
		header: headerName,
		secret: SecretNameSchema,
		hmac: z.optional(
			z.strictObject({
				algorithm: z._default(z.enum(['sha256', 'sha512', 'sha1']), 'sha256'),
				/** What stands before the hex digits, such as `sha256=`. */
				prefix: z._default(z.string(), ''),
			}),
		),
	}),
	/** Where in the JSON body the sender's own id of the event is; messages with the same one are one message. */
	event_id: jsonPointer,
	/** Messages with the same value are delivered one after the other; absent: the whole channel is one order. */
	order_by: z.optional(jsonPointer),
	/** The header by which the workload says it has taken the message durably; absent: any 2xx answer says so. */
	proof: z.optional(z.strictObject({ header: headerName, equals: z.string() })),
});
export type IngressChannel = CodecValue<typeof IngressChannel>;
export const IngressChannel = codec(IngressChannelSchema);

export const ExecutorEntrySchema = z
	.strictObject({
		agent_type: PathSafeNameSchema,
		/** Program and arguments, no shell. */
		command: z.array(z.string()).check(z.minLength(1)),
		shards: z._default(z.int().check(z.gte(1), z.lte(1024)), 1),
		min: z._default(z.int().check(z.gte(0), z.lte(1024)), 0),
		max: z._default(z.int().check(z.gte(1), z.lte(1024)), 1),
		max_per_instance: z.optional(z.int().check(z.gte(1), z.lte(1024))),
		/** `high`: gets instances of its own. */
		risk: z._default(z.enum(['low', 'high']), 'low'),
	})
	.check(z.refine((e) => e.min <= e.max, { error: 'must not be more than max', path: ['min'] }));

export const PoolSpecSchema = z.strictObject({
	id: PoolIdSchema,
	role: z._default(RoleSchema, 'worker'),
	driver: z._default(z.enum(DRIVERS), 'process'),
	/** Recipe file beside the deploy file, or an image's name or hash; null: a pool without instances of its own, or a flake. */
	image: z._default(z.nullable(z.string().check(z.minLength(1))), null),
	/** Nix flake to build from instead of an image. */
	flake: z._default(z.nullable(z.string().check(z.minLength(1))), null),
	profile: z._default(z.string().check(z.regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be a profile name')), 'minimal'),
	vcpus: z._default(z.int().check(z.gte(1), z.lte(255)), 2),
	mem_mib: z._default(z.int().check(z.gte(16), z.lte(4_194_304)), 1024),
	/** Limit of `/data`; 0: none. */
	data_disk_mib: z._default(z.int().check(z.gte(0)), 0),
	desired: z.prefault(DesiredCountsSchema, {}),
	runtime_policy: z.prefault(RuntimePolicySchema, {}),
	sleep_policy: z.prefault(SleepPolicySchema, {}),
	secret_scopes: z._default(z.array(SecretScopeSchema), []),
	integrations: z._default(z.array(z.strictObject(IntegrationEntrySchema.shape)), []),
	endpoints: z._default(z.array(EndpointSchema), []),
	ingress: z._default(z.array(IngressChannelSchema), []),
	executors: z._default(z.array(ExecutorEntrySchema), []),
	routes: z._default(z.array(RouteSchema), []),
	/** Never put to sleep by policy or pressure. */
	pinned: z._default(z.boolean(), false),
	/** Never put to sleep under memory pressure. */
	critical: z._default(z.boolean(), false),
});
export const PoolSpec = codec(PoolSpecSchema);
export type PoolSpec = CodecValue<typeof PoolSpec>;
