// Names and ids: their forms, their brands and how new ones are made from random bytes. Nothing else may invent an id.
import * as z from 'zod/mini';
import { MvmError } from './errors/mvm-error.ts';

interface Brand<Name extends string> {
	readonly brand: Name;
}
export type TenantId = string & Brand<'TenantId'>;
export type PoolId = string & Brand<'PoolId'>;
/** `i-` and 8 lower-case hex digits. */
export type InstanceId = string & Brand<'InstanceId'>;
/** `op-` and 16 lower-case hex digits. */
export type OperationId = string & Brand<'OperationId'>;
/** `cp-` and 16 lower-case hex digits. */
export type CheckpointId = string & Brand<'CheckpointId'>;
/** `key-` and 8 lower-case hex digits; not the key itself. */
export type ApiKeyId = string & Brand<'ApiKeyId'>;
/** Name of an integration, an ingress channel, an endpoint or a route: safe as a folder and in an address. */
export type PathSafeName = string & Brand<'PathSafeName'>;

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const LABEL_WORDS = 'must be 1 to 63 characters of a-z, 0-9 and -, not starting or ending with -';
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const NAME_WORDS = 'must be 1 to 63 characters of a-z, 0-9 and -, not starting with -';

/** A string of one form. The cast only adds the brand. */
function formed<T extends string>(pattern: RegExp, words: string): z.ZodMiniType<T, string> {
	return z.string().check(z.regex(pattern, words)) as unknown as z.ZodMiniType<T, string>;
}

export const TenantIdSchema = formed<TenantId>(LABEL, LABEL_WORDS);
export const PoolIdSchema = formed<PoolId>(LABEL, LABEL_WORDS);
export const InstanceIdSchema = formed<InstanceId>(/^i-[0-9a-f]{8}$/, 'must be i- and 8 lower-case hex digits');
export const OperationIdSchema = formed<OperationId>(/^op-[0-9a-f]{16}$/, 'must be op- and 16 lower-case hex digits');
export const CheckpointIdSchema = formed<CheckpointId>(/^cp-[0-9a-f]{16}$/, 'must be cp- and 16 lower-case hex digits');
export const ApiKeyIdSchema = formed<ApiKeyId>(/^key-[0-9a-f]{8}$/, 'must be key- and 8 lower-case hex digits');
export const PathSafeNameSchema = formed<PathSafeName>(NAME, NAME_WORDS);

function parser<T extends string>(schema: z.ZodMiniType<T, string>, what: string): (text: unknown) => T {
	return (text) => {
		const result = schema.safeParse(text);
		if (result.success) return result.data;
		throw new MvmError('INVALID_ID', `this is not ${what}: ${result.error.issues[0]?.message ?? 'not valid'}`, {
			details: { what, found: typeof text === 'string' ? text.slice(0, 100) : typeof text },
		});
	};
}

/** Each parser returns the branded id or throws INVALID_ID. */
export const parseTenantId = parser(TenantIdSchema, 'a tenant id');
export const parsePoolId = parser(PoolIdSchema, 'a pool id');
export const parseInstanceId = parser(InstanceIdSchema, 'an instance id');
export const parseOperationId = parser(OperationIdSchema, 'an operation id');
export const parseCheckpointId = parser(CheckpointIdSchema, 'a checkpoint id');
export const parseApiKeyId = parser(ApiKeyIdSchema, 'a key id');
/** Names of integrations, channels, endpoints and routes. */
export const parsePathSafeName = parser(PathSafeNameSchema, 'a name');

/** Each maker takes at least that many random bytes; the caller owns the randomness. */
export const newInstanceId = (random: Uint8Array): InstanceId => `i-${hex(random, 4)}` as InstanceId;
export const newOperationId = (random: Uint8Array): OperationId => `op-${hex(random, 8)}` as OperationId;
export const newCheckpointId = (random: Uint8Array): CheckpointId => `cp-${hex(random, 8)}` as CheckpointId;
export const newApiKeyId = (random: Uint8Array): ApiKeyId => `key-${hex(random, 4)}` as ApiKeyId;

/** The first `bytes` bytes as lower-case hex. Throws INTERNAL when there are fewer: a short id would not be unique. */
export function hex(random: Uint8Array, bytes: number): string {
	if (random.length < bytes)
		throw new MvmError('INTERNAL', `an id needs ${bytes} random bytes`, { details: { given: random.length } });
	return Array.from(random.subarray(0, bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
