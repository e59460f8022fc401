// What is known about one instance's activity: what the platform itself holds, and what its guest last said. Asking a guest never
// counts as activity of its own; a guest that does not answer counts as busy.
import { type ActivitySignals, type Inhibitor, inhibitorsOf, QUIET } from '../domain/inhibitors.ts';
import type { ObservedInstance } from '../domain/plan-world.ts';
import type { Clock } from '../ports/clock.ts';
import { GuestAgent } from './guest-agent.ts';
import type { InstanceHandle } from './instance-handle.ts';

const ASK_MS = 3_000;
/** What a guest said holds for one decision, not for the next. */
const ANSWER_AGE_MS = 5_000;

/** Asks the guest of a running instance and keeps the answer in the handle. */
export async function askActivity(handle: InstanceHandle, clock: Clock): Promise<void> {
	const now = clock.now();
	try {
		if (handle.link?.state !== 'up') throw new Error('no link');
		const status = await new GuestAgent(handle.link).supervisorStatus({ signal: AbortSignal.timeout(ASK_MS) });
		const lastActivityMs = status.lastActivityAt === null ? 0 : Date.parse(status.lastActivityAt);
		// A guest's clock is its own business: what it says lies in the past, and never before what the host saw itself.
		if (Number.isFinite(lastActivityMs))
			handle.lastActiveAtMs = Math.max(handle.lastActiveAtMs ?? 0, Math.min(lastActivityMs, now));
		if (status.busyReasons.length > 0) handle.lastActiveAtMs = now;
		const pendingIngress = status.busyReasons.filter((reason) => reason.startsWith('ingress')).length;
		const runningTurns = status.busyReasons.length - pendingIngress;
		handle.guestSays = { atMs: now, signals: { pendingIngress, runningTurns, openStreams: status.inFlightForwards } };
	} catch {
		// Whatever kept it from answering, it is not known to be idle.
		handle.guestSays = { atMs: now, signals: { activityKnown: false } };
	}
}

/** The planner's view of one instance. */
export function observe(handle: InstanceHandle, nowMs: number): ObservedInstance {
	const { row, operation } = handle;
	const enteredRunningAtMs = row.enteredRunningAt?.getTime();
	const idleSinceMs = Math.max(handle.lastActiveAtMs ?? 0, enteredRunningAtMs ?? 0);
	return {
		id: row.id,
		tenantId: row.tenantId,
		poolId: row.poolId,
		state: row.state,
		hibernated: row.hibernated,
		// One that recovery has to settle first is left alone like one with an operation.
		operation: operation?.kind ?? (handle.needsSettling ? 'checkpoint' : undefined),
		inhibitors: inhibitorsNow(handle, nowMs),
		idleSinceMs: idleSinceMs === 0 ? undefined : idleSinceMs,
		enteredRunningAtMs,
		enteredWarmAtMs: row.enteredWarmAt?.getTime(),
		takenSinceCheckpoint: handle.takenSinceCheckpoint,
		lastCheckpointAtMs: handle.lastCheckpointAtMs,
		backoffUntilMs: row.backoffUntil?.getTime(),
		isHealthy: handle.isServing,
		needsAttention: row.conditions.some((c) => c.type === 'NeedsAttention' && c.status),
	};
}

/** Everything that keeps it from resting now. */
export function inhibitorsNow(handle: InstanceHandle, nowMs: number): ReadonlySet<Inhibitor> {
	const { holds, guestSays } = handle;
	const said: Partial<ActivitySignals> =
		guestSays !== undefined && nowMs - guestSays.atMs <= ANSWER_AGE_MS ? guestSays.signals : {};
	return inhibitorsOf({
		...QUIET,
		...said,
		heldRequests: holds.includes('held_ingress') ? 1 : 0,
		openStreams: (holds.includes('open_stream') ? 1 : 0) + (said.openStreams ?? 0),
		taskLeases: holds.includes('task_lease') ? 1 : 0,
		pinned: handle.row.pinned,
		criticalCheckpointFailing: handle.sleepRetryAtMs > nowMs,
		operationInProgress: false, // told apart by the planner
	});
}
