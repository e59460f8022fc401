// What the control API shows of tenants, pools, messages, secrets, keys and audit; and the requests that change them.
// Requests refuse unknown keys; views tolerate those of other versions. Times are RFC 3339 in UTC.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { tolerant } from '../codec/tolerant.ts';
import { ConditionSchema } from '../documents/condition.ts';
import { MESSAGE_STATES } from '../documents/instance.ts';
import { PoolSpecSchema } from '../documents/pool.ts';
import { QuotasSchema } from '../documents/quotas.ts';
import { SecretNameSchema } from '../documents/secrets.ts';
import { ApiKeyIdSchema, CheckpointIdSchema, InstanceIdSchema, PoolIdSchema, TenantIdSchema } from '../ids.ts';

const time = z.string();
const maybe = <S extends z.ZodMiniType>(schema: S) => z._default(z.nullable(schema), null);

export const TenantView = codec(
	z.object({
		id: TenantIdSchema,
		quotas: tolerant(QuotasSchema),
		/** What counts against the quotas now. */
		usage: z.object({
			vcpus: z.int(),
			mem_mib: z.int(),
			running: z.int(),
			warm: z.int(),
			pools: z.int(),
			instances: z.int(),
			retained_bytes: z._default(z.int(), 0),
		}),
		suspended_at: maybe(time),
		suspend_reason: maybe(z.string()),
		secrets_epoch: z.int(),
		config_version: z.int(),
		conditions: z._default(z.array(ConditionSchema), []),
		created_at: time,
	}),
);
export type TenantView = CodecValue<typeof TenantView>;

export const TenantCreate = codec(z.strictObject({ id: TenantIdSchema, quotas: z.prefault(QuotasSchema, {}) }));
export type TenantCreate = CodecValue<typeof TenantCreate>;

export const TenantSuspend = codec(z.strictObject({ reason: z.string().check(z.minLength(1), z.maxLength(500)) }));
export type TenantSuspend = CodecValue<typeof TenantSuspend>;

export const PoolView = codec(
	z.object({
		tenant_id: TenantIdSchema,
		id: PoolIdSchema,
		spec: tolerant(PoolSpecSchema),
		/** Hash of the revision that new boots use. */
		image: maybe(z.string()),
		config_version: z.int(),
		/** Instances by state; a state without any may be absent. */
		instances: z._default(z.record(z.string(), z.int()), {}),
		conditions: z._default(z.array(ConditionSchema), []),
		created_at: time,
		updated_at: time,
	}),
);
export type PoolView = CodecValue<typeof PoolView>;

const message = {
	/** Grows with time of acceptance. */
	id: z.int(),
	tenant_id: TenantIdSchema,
	pool_id: PoolIdSchema,
	channel: z.string(),
	event_id: z.string(),
	order_key: z.string(),
	/** Chosen at delivery. */
	instance_id: maybe(InstanceIdSchema),
	state: z.enum(MESSAGE_STATES),
	path: z.string(),
	body_bytes: z.int(),
	received_at: time,
	attempts: z.int(),
	next_attempt_at: maybe(time),
	taken_at: maybe(time),
	taken_incarnation: maybe(z.int()),
	/** The verified checkpoint that contains it. */
	checkpoint_id: maybe(CheckpointIdSchema),
	last_error: maybe(z.string()),
	trace_id: z.string(),
};
export const IngressMessageView = codec(z.object(message));
export type IngressMessageView = CodecValue<typeof IngressMessageView>;

export const IngressMessageDetail = codec(
	z.object({
		...message,
		headers: z.record(z.string(), z.string()),
		/** Base64; null once settled: only the tombstone for deduplication is kept. */
		body_base64: maybe(z.string()),
	}),
);
export type IngressMessageDetail = CodecValue<typeof IngressMessageDetail>;

export const SecretSet = codec(z.strictObject({ value: z.string().check(z.minLength(1), z.maxLength(65_536)) }));
export type SecretSet = CodecValue<typeof SecretSet>;

/** A secret without its value, which no route ever returns. */
export const SecretView = codec(z.object({ name: SecretNameSchema, version: z.int(), created_at: time }));
export type SecretView = CodecValue<typeof SecretView>;

export const KEY_ROLES = ['operator', 'tenant_admin', 'tenant_user'] as const;
export type KeyRole = (typeof KEY_ROLES)[number];

const key = {
	id: ApiKeyIdSchema,
	/** Null: an operator's key. */
	tenant_id: maybe(TenantIdSchema),
	role: z.enum(KEY_ROLES),
	name: z.string(),
	created_at: time,
	revoked_at: maybe(time),
};
export const ApiKeyView = codec(z.object(key));
export type ApiKeyView = CodecValue<typeof ApiKeyView>;

export const ApiKeyCreate = codec(
	z
		.strictObject({
			role: z.enum(KEY_ROLES),
			tenant_id: maybe(TenantIdSchema),
			name: z.string().check(z.minLength(1), z.maxLength(100)),
		})
		.check(
			z.refine((k) => (k.role === 'operator') === (k.tenant_id === null), {
				error: 'is needed for the role of a tenant, and only there',
				path: ['tenant_id'],
			}),
		),
);
export type ApiKeyCreate = CodecValue<typeof ApiKeyCreate>;

/** The only answer that holds the key itself; it cannot be shown again. */
export const ApiKeyCreated = codec(z.object({ ...key, key: z.string() }));
export type ApiKeyCreated = CodecValue<typeof ApiKeyCreated>;

export const AuditEntryView = codec(
	z.object({
		seq: z.int(),
		at: time,
		actor: z.string(),
		action: z.string(),
		target: z.string(),
		outcome: z.string(),
		detail: z._default(z.record(z.string(), z.unknown()), {}),
		trace_id: maybe(z.string()),
		/** Lower-case hex, as is the next. */
		prev_hash: z.string(),
		hash: z.string(),
	}),
);
export type AuditEntryView = CodecValue<typeof AuditEntryView>;

export const AuditVerifyResult = codec(
	z.object({
		tenant_id: TenantIdSchema,
		ok: z.boolean(),
		/** Entries that were read. */
		entries: z.int(),
		/** The first entry that does not fit its neighbours, and why. */
		first_bad_seq: maybe(z.int()),
		reason: maybe(z.string()),
		/** Hash of the last good entry. */
		head_hash: maybe(z.string()),
	}),
);
export type AuditVerifyResult = CodecValue<typeof AuditVerifyResult>;
