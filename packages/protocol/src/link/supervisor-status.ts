// What the supervisor in an instance reports about its workload; the host's idle and readiness decisions read it.
import * as z from 'zod/mini';
import type { Camel } from '../codec/names.ts';

export const WORKLOAD_STATES = ['starting', 'ready', 'running', 'exited', 'crash_loop', 'none'] as const;

const WorkloadStatusSchema = z.object({
	/** `running`: started, has no readiness check. `none`: the image has no workload. */
	state: z.catch(z.enum(WORKLOAD_STATES), 'starting'),
	/** Inside the instance; null while nothing runs. */
	pid: z._default(z.nullable(z.int()), null),
	/** Starts after the first one, since boot. */
	restarts: z._default(z.int(), 0),
	/** How the last process ended; null when none has. */
	last_exit: z._default(
		z.nullable(
			z.object({
				/** Exit code; null when a signal ended it. */
				code: z._default(z.nullable(z.int()), null),
				signal: z._default(z.nullable(z.string()), null),
			}),
		),
		null,
	),
	/** From its start until it was ready. */
	ready_ms: z.optional(z.number()),
	last_log_lines: z._default(z.array(z.string()), []),
});

export const SupervisorStatusSchema = z.object({
	workload: WorkloadStatusSchema,
	in_flight_forwards: z._default(z.int(), 0),
	/** Why the instance must not sleep, as stable words; empty when it may. */
	busy_reasons: z._default(z.array(z.string()), []),
	/** RFC 3339; null when there was none since boot. */
	last_activity_at: z._default(z.nullable(z.string()), null),
	incarnation: z.int(),
});
export type SupervisorStatus = Camel<z.output<typeof SupervisorStatusSchema>>;
