// The manifest of a checkpoint: every entry of an instance's `/data`, named by content. Written from a frozen tree, stored
// as a blob, verified as a whole before anything runs on it.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { CheckpointIdSchema } from '../ids.ts';

const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits'));

/** Relative, `/`-separated, without empty parts, `.` or `..`: it can only lead to below where it starts. */
const insidePath = z.string().check(
	z.minLength(1),
	z.maxLength(4096),
	z.refine(
		(path) => !path.includes('\0') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..'),
		'must stay below /data',
	),
);

const common = {
	path: insidePath,
	/** Permission bits, set-id bits excluded. */
	mode: z.int().check(z.gte(0), z.lte(0o7777)),
	/** Ids as seen inside the instance. */
	uid: z.int().check(z.gte(0)),
	gid: z.int().check(z.gte(0)),
	mtime_ms: z.number(),
};

const CheckpointEntrySchema = z.discriminatedUnion('kind', [
	z.object({ kind: z.literal('file'), ...common, sha256, bytes: z.int().check(z.gte(0)) }),
	z.object({ kind: z.literal('dir'), ...common }),
	z.object({ kind: z.literal('symlink'), ...common, link_text: z.string().check(z.minLength(1), z.maxLength(4096)) }),
]);
export type CheckpointEntry = CodecValue<typeof CheckpointEntry>;
export const CheckpointEntry = codec(CheckpointEntrySchema);

export const CheckpointManifest = codec(
	z.object({
		version: z.literal(1),
		/** The checkpoint before it; null for the first. */
		parent: z._default(z.nullable(CheckpointIdSchema), null),
		/** In the order of the walk: a folder before what is in it. */
		entries: z.array(CheckpointEntrySchema),
		/** Versions of what wrote the data, such as the workload's; an older runtime refuses to start on newer data. */
		schema_versions: z._default(z.record(z.string(), z.union([z.string(), z.number()])), {}),
		incarnation: z.int().check(z.gte(0)),
		/** Hash of the image revision that ran. */
		image: z.string(),
		/** RFC 3339. */
		created_at: z.string(),
	}),
);
export type CheckpointManifest = CodecValue<typeof CheckpointManifest>;
