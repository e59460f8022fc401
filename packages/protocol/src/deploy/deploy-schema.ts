// The deploy file as it is written and as it is read: our own form, and the reference's DeploymentManifest, which is a part
// of it. Unknown keys are refused. Called by the files beside this one.
import * as z from 'zod/mini';
import { canonicalCidr } from '../documents/cidr.ts';
import { RuntimePolicyPatchSchema } from '../documents/policy.ts';
import { DesiredCountsSchema, MAX_DESIRED_PER_STATE, type PoolSpec, PoolSpecSchema } from '../documents/pool.ts';
import { type Quotas, QuotasSchema } from '../documents/quotas.ts';
import { SecretNameSchema } from '../documents/secrets.ts';
import { PoolIdSchema, type TenantId, TenantIdSchema } from '../ids.ts';

const wanted = z.optional(z.int().check(z.gte(0), z.lte(MAX_DESIRED_PER_STATE)));

const DeployPoolSchema = z.strictObject({
	...PoolSpecSchema.shape,
	id: PoolIdSchema,
	image: z.optional(z.string().check(z.minLength(1))),
	flake: z.optional(z.string().check(z.minLength(1))),
	desired: z.optional(DesiredCountsSchema),
	/** The reference's spelling of `desired`. */
	desired_running: wanted,
	desired_warm: wanted,
	runtime_policy: z.optional(RuntimePolicyPatchSchema),
});

export const DeployFileSchema = z.strictObject({
	tenant: z.strictObject({
		id: TenantIdSchema,
		quotas: z.prefault(QuotasSchema, {}),
		/** Network identity of the reference; used by drivers with network mode `bridge`. */
		net_id: z.optional(z.int().check(z.gte(0), z.lte(4095))),
		subnet: z.optional(
			z.string().check(z.refine((text) => canonicalCidr(text) !== undefined, 'must be an address range such as 10.240.3.0/24')),
		),
	}),
	/** Names, and the files their values are read from, relative to the deploy file. */
	secrets: z._default(z.record(SecretNameSchema, z.strictObject({ file: z.string().check(z.minLength(1)) })), {}),
	pools: z._default(z.array(DeployPoolSchema), []),
});
export type DeployPool = z.output<typeof DeployPoolSchema>;

/** The file with everything filled in. */
export interface DeployFile {
	readonly tenant: {
		readonly id: TenantId;
		readonly quotas: Quotas;
		/** Absent: chosen by the platform where a driver needs one. */
		readonly netId?: number;
		readonly subnet?: string;
	};
	/** Name → file with the value, relative to the deploy file. */
	readonly secrets: Readonly<Record<string, { readonly file: string }>>;
	/** With all defaults filled in; `image` is as written: a recipe file, a name or a hash. */
	readonly pools: readonly PoolSpec[];
}

/** Keys of a pool in the reference's manifest; a pool with no others is read with the reference's defaults. */
const REFERENCE_KEYS: readonly string[] = [
	'id',
	'role',
	'profile',
	'flake',
	'vcpus',
	'mem_mib',
	'data_disk_mib',
	'desired_running',
	'desired_warm',
];

/** True for a pool as the reference writes it. */
export function isReferencePool(pool: object): boolean {
	return Object.keys(pool).every((key) => REFERENCE_KEYS.includes(key));
}
