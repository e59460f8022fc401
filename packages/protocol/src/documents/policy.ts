// When an instance may change its state by policy, and when it should.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import type { Role } from './role.ts';

const seconds = z.int().check(z.gte(0), z.lte(31_536_000));

export const RuntimePolicySchema = z.strictObject({
	/** Running must last this long before policy ends it; 0: no minimum. */
	min_running_seconds: z._default(seconds, 60),
	/** Warm must last this long before sleeping; 0: no minimum. */
	min_warm_seconds: z._default(seconds, 30),
	/** Budget for checkpoints and drain before a sleep. */
	drain_timeout_seconds: z._default(seconds, 30),
	/** From the polite end of a process to the impolite one. */
	graceful_shutdown_seconds: z._default(seconds, 15),
});
export const RuntimePolicy = codec(RuntimePolicySchema);
export type RuntimePolicy = CodecValue<typeof RuntimePolicy>;

/** What a deploy file may say of it: only the fields that differ from the defaults of the role. */
export const RuntimePolicyPatchSchema = z.strictObject({
	min_running_seconds: z.exactOptional(seconds),
	min_warm_seconds: z.exactOptional(seconds),
	drain_timeout_seconds: z.exactOptional(seconds),
	graceful_shutdown_seconds: z.exactOptional(seconds),
});

/** The policy of a pool that declares none: OpenClaw needs 315 s to drain, all else has the reference's numbers. */
export function defaultRuntimePolicy(role: Role): RuntimePolicy {
	if (role !== 'capability-openclaw') return RuntimePolicy.parse({});
	return { minRunningSeconds: 300, minWarmSeconds: 120, drainTimeoutSeconds: 330, gracefulShutdownSeconds: 330 };
}

export const SleepPolicySchema = z.strictObject({
	/** Idle this long: freeze. Counts from the start of idleness. */
	warm_threshold_secs: z._default(seconds, 300),
	/** Idle this long: sleep. Counts from the start of idleness, too. */
	sleep_threshold_secs: z._default(seconds, 900),
	/** Percent of one CPU under which an instance without other signs counts as idle. */
	cpu_threshold: z._default(z.number().check(z.gte(0), z.lte(100)), 5),
	/** Bytes per window under which it counts as idle. */
	net_bytes_threshold: z._default(z.int().check(z.gte(0)), 1024),
	/** `warm`: keep the memory on disk and resume it. `cold`: start anew from `/data`. */
	resume: z._default(z.enum(['warm', 'cold']), 'warm'),
});
export const SleepPolicy = codec(SleepPolicySchema);
export type SleepPolicy = CodecValue<typeof SleepPolicy>;
