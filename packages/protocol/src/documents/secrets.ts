// Names of secrets and who may see which. Values are never part of a document.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { PathSafeNameSchema } from '../ids.ts';

/** Environment-variable style, so that it is also a safe file name. */
export const SecretNameSchema = z
	.string()
	.check(z.regex(/^[A-Z][A-Z0-9_]{0,127}$/, 'must start with A-Z and have only A-Z, 0-9 and _'));

export const SecretScopeSchema = z.strictObject({
	/** The integration that gets them, under `/run/secrets/<integration>/`. */
	integration: PathSafeNameSchema,
	/** Empty: every secret of the tenant. */
	keys: z._default(z.array(SecretNameSchema), []),
});
export const SecretScope = codec(SecretScopeSchema);
/** Grants an integration some of the tenant's secrets. An integration without a scope gets nothing. */
export type SecretScope = CodecValue<typeof SecretScope>;

/** The names of `all` that a scope grants; a name that has no value is left out. */
export function keysInScope(scope: SecretScope, all: readonly string[]): string[] {
	return scope.keys.length === 0 ? [...all] : scope.keys.filter((key) => all.includes(key));
}
