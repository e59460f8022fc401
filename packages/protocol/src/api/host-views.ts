// What the control API shows of the host, its images and deploys.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { ConditionSchema } from '../documents/condition.ts';
import { ImageRecipeSchema, ImageRevisionSchema } from '../documents/image.ts';
import { SecretNameSchema } from '../documents/secrets.ts';
import { TenantIdSchema } from '../ids.ts';

/** `tenant/pool` names of those who use the revision. */
export const ImageView = codec(z.object({ ...ImageRevisionSchema.shape, used_by: z._default(z.array(z.string()), []) }));
export type ImageView = CodecValue<typeof ImageView>;

export const ImageBuild = codec(z.strictObject({ recipe: ImageRecipeSchema }));
export type ImageBuild = CodecValue<typeof ImageBuild>;

/** Newest revisions of each name to keep beside those in use. */
export const ImageGc = codec(z.strictObject({ keep: z._default(z.int().check(z.gte(0)), 2) }));
export type ImageGc = CodecValue<typeof ImageGc>;
export const ImageGcResult = codec(z.object({ removed: z.array(z.string()) }));
export type ImageGcResult = CodecValue<typeof ImageGcResult>;

export const DeployRequest = codec(
	z.strictObject({
		/** The deploy file, parsed from TOML but not changed; the server judges it as a whole. */
		document: z.record(z.string(), z.unknown()),
		/** Recipe files by the name the pools use for them, each with its `base_dir`. */
		recipes: z._default(z.record(z.string(), ImageRecipeSchema), {}),
		/** Values of the file's secrets. */
		secrets: z._default(z.record(SecretNameSchema, z.string()), {}),
	}),
);
export type DeployRequest = CodecValue<typeof DeployRequest>;

const change = z.object({
	kind: z.enum(['tenant', 'image', 'secret', 'pool', 'instance']),
	id: z.string(),
	action: z.enum(['create', 'update', 'delete', 'unchanged']),
	/** For people. */
	detail: z._default(z.string(), ''),
});

export const DeployResult = codec(
	z.object({
		tenant_id: TenantIdSchema,
		/** False: only planned. */
		applied: z.boolean(),
		changes: z.array(change),
	}),
);
export type DeployResult = CodecValue<typeof DeployResult>;

const driver = z.object({
	driver: z.string(),
	isolation: z.string(),
	freeze: z.boolean(),
	snapshot: z.boolean(),
	bridge_network: z.boolean(),
	conditions: z._default(z.array(ConditionSchema), []),
});

export const HostInfo = codec(
	z.object({
		version: z.string(),
		/** RFC 3339. */
		started_at: z.string(),
		privileged: z.boolean(),
		data_dir: z.string(),
		run_dir: z.string(),
		listen: z._default(z.array(z.string()), []),
		cpus: z.int(),
		memory_bytes: z.int(),
		swap_bytes: z._default(z.int(), 0),
		/** Resident memory of the daemon. */
		daemon_resident_bytes: z._default(z.int(), 0),
		drivers: z._default(z.array(driver), []),
		conditions: z._default(z.array(ConditionSchema), []),
	}),
);
export type HostInfo = CodecValue<typeof HostInfo>;

export const DoctorReport = codec(
	z.object({
		/** True when no check failed; a warning means it runs, but weaker. */
		ok: z.boolean(),
		checks: z.array(
			z.object({
				name: z.string(),
				level: z.enum(['ok', 'warn', 'fail']),
				message: z.string(),
				/** What to do about it. */
				fix: z._default(z.nullable(z.string()), null),
			}),
		),
	}),
);
export type DoctorReport = CodecValue<typeof DoctorReport>;
