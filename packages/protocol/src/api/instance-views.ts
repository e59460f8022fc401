// What the control API shows of instances and what happened to them. Read by the SDK, the CLI and the console.
// Times are RFC 3339 in UTC; null means it never happened or does not apply.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { ConditionSchema } from '../documents/condition.ts';
import { InstanceStateSchema } from '../documents/instance.ts';
import { CheckpointIdSchema, InstanceIdSchema, OperationIdSchema, PoolIdSchema, TenantIdSchema } from '../ids.ts';
import { SupervisorStatusSchema } from '../link/supervisor-status.ts';
import { WakeOutcomeSchema } from '../wake.ts';

const time = z.string();
const maybe = <S extends z.ZodMiniType>(schema: S) => z._default(z.nullable(schema), null);

export const OperationView = codec(
	z.object({
		id: OperationIdSchema,
		tenant_id: TenantIdSchema,
		instance_id: InstanceIdSchema,
		/** `start`, `sleep`, `wake`, … */
		kind: z.string(),
		/** The step it is in, or ended in. */
		step: z.string(),
		incarnation: z.int(),
		reason: z.string(),
		forced: z.boolean(),
		detail: z._default(z.record(z.string(), z.unknown()), {}),
		trace_id: maybe(z.string()),
		started_at: time,
		updated_at: time,
		finished_at: maybe(time),
		/** `done`, `failed`, `aborted`; null while it runs. */
		outcome: maybe(z.string()),
		error: maybe(z.object({ code: z.string(), message: z.string() })),
	}),
);
export type OperationView = CodecValue<typeof OperationView>;

const memory = z.object({ charged_bytes: z.int(), swap_bytes: z.int(), resident_bytes: z.int() });

export const InstanceView = codec(
	z.object({
		id: InstanceIdSchema,
		tenant_id: TenantIdSchema,
		pool_id: PoolIdSchema,
		state: InstanceStateSchema,
		/** Asleep with its memory paged out: the next wake resumes it. */
		hibernated: z._default(z.boolean(), false),
		incarnation: z.int(),
		/** Hash of the image revision of its last boot. */
		image: maybe(z.string()),
		pinned: z._default(z.boolean(), false),
		/** Why it may not sleep now; empty when it may. */
		inhibitors: z._default(z.array(z.string()), []),
		conditions: z._default(z.array(ConditionSchema), []),
		/** The step in progress. */
		operation: maybe(OperationView.schema),
		/** Host pid of its init. */
		pid: maybe(z.int()),
		memory: maybe(memory),
		failures: z._default(z.int(), 0),
		backoff_until: maybe(time),
		/** The newest verified checkpoint. */
		checkpoint_id: maybe(CheckpointIdSchema),
		entered_running_at: maybe(time),
		entered_warm_at: maybe(time),
		last_busy_at: maybe(time),
		created_at: time,
		updated_at: time,
	}),
);
export type InstanceView = CodecValue<typeof InstanceView>;

export const InstanceStats = codec(
	z.object({
		instance_id: InstanceIdSchema,
		state: InstanceStateSchema,
		pid: maybe(z.int()),
		memory: maybe(memory),
		cpu_ms: maybe(z.number()),
		tasks: maybe(z.int()),
		data_bytes: maybe(z.int()),
		oom_kills: maybe(z.int()),
		/** Null while no guest agent answers. */
		supervisor: maybe(SupervisorStatusSchema),
	}),
);
export type InstanceStats = CodecValue<typeof InstanceStats>;

/** Answer of an action on an instance. */
export const ActionResult = codec(z.object({ instance: InstanceView.schema, operation_id: maybe(OperationIdSchema) }));
export type ActionResult = CodecValue<typeof ActionResult>;

/** Answer of start and wake. */
export const WakeResult = codec(z.object({ instance: InstanceView.schema, wake: WakeOutcomeSchema }));
export type WakeResult = CodecValue<typeof WakeResult>;

export const InstanceLogs = codec(z.object({ instance_id: InstanceIdSchema, text: z.string() }));
export type InstanceLogs = CodecValue<typeof InstanceLogs>;

export const CheckpointView = codec(
	z.object({
		id: CheckpointIdSchema,
		tenant_id: TenantIdSchema,
		instance_id: InstanceIdSchema,
		parent_id: maybe(CheckpointIdSchema),
		manifest_sha256: z.string(),
		incarnation: z.int(),
		image: z.string(),
		schema_versions: z._default(z.record(z.string(), z.unknown()), {}),
		entries: z.int(),
		bytes: z.int(),
		/** Messages taken before this moment are contained. */
		frozen_at: time,
		created_at: time,
		state: z.enum(['good', 'bad']),
		bad_reason: maybe(z.string()),
	}),
);
export type CheckpointView = CodecValue<typeof CheckpointView>;

export const EventView = codec(
	z.object({
		/** Grows; the cursor of `/v1/events`. */
		id: z.int(),
		tenant_id: TenantIdSchema,
		pool_id: maybe(PoolIdSchema),
		instance_id: maybe(InstanceIdSchema),
		/** Such as `instance.woke`. */
		kind: z.string(),
		detail: z._default(z.record(z.string(), z.unknown()), {}),
		trace_id: maybe(z.string()),
		at: time,
	}),
);
export type EventView = CodecValue<typeof EventView>;
