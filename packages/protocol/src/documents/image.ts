// Images: the recipe a person writes, the lock the first build makes, the revision that comes out, and the workload in it.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { tolerant } from '../codec/tolerant.ts';
import { PathSafeNameSchema } from '../ids.ts';
import { AbsolutePathSchema, RelativePathSchema } from './paths.ts';

const port = z.int().check(z.gte(1), z.lte(65_535));
const environment = z.record(
	z.string().check(z.regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must have only letters, digits and _')),
	z.string(),
);

export const WorkloadSchema = z.strictObject({
	adapter: z._default(z.enum(['openclaw', 'none']), 'none'),
	/** Program and arguments, no shell. Empty: the image has no workload. */
	command: z._default(z.array(z.string()), []),
	/** Keys are kept as written. */
	env: z._default(environment, {}),
	/** How to see that it is ready: an HTTP answer below 400. Absent: it is ready when it runs. */
	ready: z.optional(
		z.strictObject({
			port,
			path: z._default(z.string().check(z.startsWith('/', 'must start with /')), '/'),
			timeout_secs: z._default(z.int().check(z.gte(1)), 60),
		}),
	),
	/** From the polite end to the impolite one. */
	stop_timeout_secs: z._default(z.int().check(z.gte(0)), 15),
});
export const Workload = codec(WorkloadSchema);
export type Workload = CodecValue<typeof Workload>;

const base = z.enum(['host-usr', 'debian']);
const common = {
	name: PathSafeNameSchema,
	/** Path in the image → file beside the recipe; configuration without secrets. */
	files: z._default(z.record(AbsolutePathSchema, RelativePathSchema), {}),
	workload: z.prefault(WorkloadSchema, {}),
	/** Absolute folder the recipe's relative paths start from; filled in by whoever read the file, never written in it. */
	base_dir: z.optional(AbsolutePathSchema),
};

export const ImageRecipeSchema = z.discriminatedUnion('kind', [
	z.strictObject({
		kind: z.literal('npm'),
		...common,
		base: z._default(base, 'host-usr'),
		/** Major version of Node. */
		node: z._default(z.string().check(z.regex(/^\d+(?:\.\d+){0,2}$/, 'must be a version such as 24')), '24'),
		/** Exact versions: `openclaw@2026.9.6`. */
		packages: z
			.array(
				z
					.string()
					.check(
						z.regex(
							/^(?:@[a-z0-9][a-z0-9._~-]*\/)?[a-z0-9][a-z0-9._~-]*@\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$/,
							'must be name@exact-version',
						),
					),
			)
			.check(z.minLength(1)),
	}),
	z.strictObject({
		kind: z.literal('dir'),
		...common,
		base: z._default(base, 'host-usr'),
		/** Folder beside the recipe that becomes `to` in the image. */
		dir: RelativePathSchema,
		to: z._default(AbsolutePathSchema, '/opt/app'),
	}),
	z.strictObject({
		kind: z.literal('debian'),
		...common,
		suite: z._default(z.string().check(z.regex(/^[a-z]+$/, 'must be a suite name')), 'bookworm'),
		packages: z._default(
			z.array(z.string().check(z.regex(/^[a-z0-9][a-z0-9+.-]+(?:=[\w.+:~-]+)?$/, 'must be a package name'))),
			[],
		),
	}),
	z.strictObject({
		kind: z.literal('nix'),
		...common,
		flake: z.string().check(z.minLength(1)),
		profile: z._default(z.string().check(z.regex(/^[a-z0-9][a-z0-9-]*$/, 'must be a profile name')), 'minimal'),
	}),
]);
/** What to build; the document `<name>.image.toml`. */
export const ImageRecipe = codec(ImageRecipeSchema);
export type ImageRecipe = CodecValue<typeof ImageRecipe>;

export const ImageLockSchema = z.object({
	version: z.literal(1),
	/** SHA-256 of the recipe the lock was made for. */
	recipe_sha256: z.string(),
	/** What was installed, by name: version and integrity. */
	packages: z._default(
		z.record(z.string(), z.object({ version: z.string(), integrity: z._default(z.nullable(z.string()), null) })),
		{},
	),
	/** Base, Node and copied files: a name and the SHA-256 of what it was. */
	inputs: z._default(z.record(z.string(), z.string()), {}),
});
export const ImageLock = codec(ImageLockSchema);
/** Everything that went into a revision. The same lock gives the same hash. */
export type ImageLock = CodecValue<typeof ImageLock>;

export const ImageRevisionSchema = z.object({
	/** Lower-case hex; the name of the revision. */
	hash: z.string(),
	/** The recipe's name. */
	name: z.string(),
	kind: z.enum(['npm', 'dir', 'debian', 'nix']),
	/** RFC 3339. */
	created_at: z.string(),
	bytes: z.int(),
	/** True when it was there already. */
	reused: z.boolean(),
	workload: tolerant(WorkloadSchema),
	lock: ImageLockSchema,
});
export const ImageRevision = codec(ImageRevisionSchema);
export type ImageRevision = CodecValue<typeof ImageRevision>;
