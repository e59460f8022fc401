// The runtime port as RPC: every method of hostd with the schema of what goes in and what comes out, in wire spelling.
// Shared by hostd-server and hostd-client; the only description of this wire. Both sides are of one version, yet both check.
import { Condition, codec, GuestConfig, ImageRecipe, ImageRevision, InstanceIdSchema } from '@mvm/protocol';
import * as z from 'zod/mini';

const count = z.int().check(z.nonnegative());
const positive = z.int().check(z.positive());
const conditions = z.array(Condition.schema);
const nothing = z.object({});
const one = z.object({ instance_id: InstanceIdSchema });
const hash = z.string().check(z.regex(/^[0-9a-f]{8,64}$/, 'must be lower-case hex'));
const secretName = z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/, 'must be a plain name'));

const memory = z.object({ charged_bytes: count, swap_bytes: count, resident_bytes: count });
const observed = z.object({
	instance_id: InstanceIdSchema,
	slot: count,
	state: z.enum(['running', 'frozen', 'exited', 'absent']),
	incarnation: count,
	hibernated: z.boolean(),
	pid: z.exactOptional(positive),
	start_ticks: z.exactOptional(count),
	exit_code: z.exactOptional(z.int()),
	image: z.exactOptional(z.string()),
	memory: z.exactOptional(memory),
	cpu_ms: z.exactOptional(count),
	tasks: z.exactOptional(count),
	data_bytes: z.exactOptional(count),
	oom_kills: z.exactOptional(count),
});

const boot = z.object({
	instance_id: InstanceIdSchema,
	incarnation: positive,
	token: z.string().check(z.minLength(1), z.maxLength(512)),
	image: hash,
	vcpus: z.number().check(z.positive(), z.lte(1024)),
	mem_mib: positive,
	pids_max: positive,
	config: GuestConfig.schema,
});

/** Methods with one JSON document each way. */
export const CALLS = {
	capabilities: {
		request: codec(nothing),
		response: codec(
			z.object({
				driver: z.string(),
				isolation: z.enum(['namespaces', 'gvisor', 'microvm', 'pod']),
				freeze: z.boolean(),
				snapshot: z.boolean(),
				bridge_network: z.boolean(),
				conditions,
			}),
		),
	},
	prepare: {
		request: codec(z.object({ instance_id: InstanceIdSchema, data_disk_mib: count.check(z.lte(16_777_216)) })),
		response: codec(z.object({ slot: count, link_dir: z.string(), data_fresh: z.boolean(), conditions })),
	},
	boot: { request: codec(boot), response: codec(observed) },
	freeze: { request: codec(one), response: codec(observed) },
	thaw: { request: codec(z.object({ instance_id: InstanceIdSchema, incarnation: positive })), response: codec(observed) },
	snapshot: {
		request: codec(one),
		response: codec(z.object({ charged_before_bytes: count, charged_after_bytes: count, swap_bytes: count, rounds: count })),
	},
	prefetch: { request: codec(one), response: codec(z.object({ bytes: count })) },
	restore: { request: codec(boot), response: codec(observed) },
	stop: {
		request: codec(z.object({ instance_id: InstanceIdSchema, grace_ms: count.check(z.lte(3_600_000)) })),
		response: codec(observed),
	},
	destroy: { request: codec(one), response: codec(nothing) },
	inspect: { request: codec(one), response: codec(z.object({ observed: z.nullable(observed) })) },
	adopt: { request: codec(nothing), response: codec(z.object({ observed: z.array(observed) })) },
	write_secrets: {
		request: codec(
			z.object({
				instance_id: InstanceIdSchema,
				epoch: z.int(),
				files: z.array(z.object({ integration: secretName, key: secretName, value: z.string() })),
			}),
		),
		response: codec(nothing),
	},
	list_images: { request: codec(nothing), response: codec(z.object({ images: z.array(ImageRevision.schema) })) },
	gc_images: { request: codec(z.object({ keep: z.array(hash) })), response: codec(z.object({ removed: z.array(z.string()) })) },
	logs: {
		request: codec(z.object({ instance_id: InstanceIdSchema, tail_bytes: count })),
		response: codec(z.object({ text: z.string() })),
	},
} as const;

export type CallName = keyof typeof CALLS;

/** Header of the `/data` streams; a file's bytes follow as chunks. */
export const EntryHeader = codec(
	z.object({
		path: z.string().check(z.minLength(1), z.maxLength(65_536)),
		kind: z.enum(['file', 'dir', 'symlink']),
		mode: count,
		uid: count,
		gid: count,
		mtime_ms: z.number(),
		bytes: count,
		link_text: z.exactOptional(z.string()),
	}),
);
/** Last frame of a walk. */
export const WalkEnd = codec(z.object({ refused: z.array(z.object({ path: z.string(), why: z.string() })) }));
/** First frame of a restore, and the answer to it. */
export const RestoreStart = codec(one);
export const RestoreResult = codec(z.object({ entries: count, bytes: count }));
export const CheckpointRequest = codec(one);
export const InstallRequest = codec(z.object({ recipe: ImageRecipe.schema }));
export const InstallResult = ImageRevision;
