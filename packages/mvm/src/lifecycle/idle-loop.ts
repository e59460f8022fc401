// Looks at every awake instance at an interval and lets domain/sleep-policy decide. Asks a guest only when time alone would
// already allow a rest, so that looking costs nothing while an instance is young, and its own looking never counts as activity.
import { isMvmError } from '@mvm/protocol';
import { type ActivitySignals, type Inhibitor, inhibitorsOf, QUIET } from '../domain/inhibitors.ts';
import { backOffMs, CHECKPOINT_RETRY } from '../domain/retry.ts';
import { decideSleep, type SleepDecision } from '../domain/sleep-policy.ts';
import type { PoolView } from './deps.ts';
import { GuestAgent } from './guest-agent.ts';
import type { InstanceHandle } from './instance-handle.ts';
import type { Lifecycle } from './lifecycle.ts';

const ASK_MS = 3_000;

export class IdleLoop {
	readonly #lifecycle: Lifecycle;
	readonly #intervalMs: number;
	readonly #newTraceId: () => string;
	readonly #running = new Map<InstanceHandle, Promise<void>>();
	#cancel: (() => void) | undefined;
	#stopped = false;

	constructor(lifecycle: Lifecycle, options: { readonly intervalMs: number; readonly newTraceId: () => string }) {
		this.#lifecycle = lifecycle;
		this.#intervalMs = options.intervalMs;
		this.#newTraceId = options.newTraceId;
	}

	start(): void {
		this.#cancel = this.#lifecycle.deps.clock.after(this.#intervalMs, () => {
			this.look();
			if (!this.#stopped) this.start();
		});
	}

	async stop(): Promise<void> {
		this.#stopped = true;
		this.#cancel?.();
		await Promise.all(this.#running.values());
	}

	/** One round; an instance whose last look is still under way is left out. */
	look(): void {
		for (const handle of this.#lifecycle.handles) {
			if (handle.operation !== undefined || this.#running.has(handle)) continue;
			if (handle.row.state !== 'running' && handle.row.state !== 'warm') continue;
			const look = this.#lookAt(handle)
				.catch((error: unknown) => this.#lifecycle.deps.log.warn({ err: error, instance_id: handle.id }, 'idle check failed'))
				.finally(() => this.#running.delete(handle));
			this.#running.set(handle, look);
		}
	}

	async #lookAt(handle: InstanceHandle): Promise<void> {
		const { clock } = this.#lifecycle.deps;
		const pool = await this.#lifecycle.deps.poolOf(handle.row.tenantId, handle.row.poolId);
		let decision = this.#decide(handle, pool, this.#knownSignals(handle));
		if (decision.action !== 'none' && handle.row.state === 'running') {
			const asked = await this.#ask(handle);
			if (handle.operation !== undefined) return;
			decision = this.#decide(handle, pool, { ...this.#knownSignals(handle), ...asked });
		}
		handle.deferredBy = decision.deferredBy;
		if (decision.action === 'none') return;
		const options = { reason: 'policy', traceId: this.#newTraceId(), signal: AbortSignal.timeout(3_600_000) };
		try {
			await this.#lifecycle[decision.action](handle.id, options);
			handle.sleepFailures = 0;
		} catch (error) {
			if (isMvmError(error, 'SLEEP_ABORTED') || isMvmError(error, 'CANCELLED')) return;
			handle.sleepFailures += 1;
			handle.sleepRetryAtMs = clock.now() + backOffMs(CHECKPOINT_RETRY, handle.sleepFailures, 0);
		}
	}

	#knownSignals(handle: InstanceHandle): ActivitySignals {
		const { holds } = handle;
		return {
			...QUIET,
			heldRequests: holds.includes('held_ingress') ? 1 : 0,
			openStreams: holds.includes('open_stream') ? 1 : 0,
			taskLeases: holds.includes('task_lease') ? 1 : 0,
			pinned: handle.row.pinned,
			criticalCheckpointFailing: handle.sleepRetryAtMs > this.#lifecycle.deps.clock.now(),
			operationInProgress: handle.operation !== undefined,
		};
	}

	/** What only the guest knows. A guest that does not answer counts as busy. */
	async #ask(handle: InstanceHandle): Promise<Partial<ActivitySignals>> {
		try {
			if (handle.link?.state !== 'up') return { activityKnown: false };
			const status = await new GuestAgent(handle.link).supervisorStatus({ signal: AbortSignal.timeout(ASK_MS) });
			const lastActivityMs = status.lastActivityAt === null ? Number.NaN : Date.parse(status.lastActivityAt);
			if (Number.isFinite(lastActivityMs))
				handle.lastActiveAtMs = Math.max(handle.lastActiveAtMs ?? 0, Math.min(lastActivityMs, this.#lifecycle.deps.clock.now()));
			if (status.busyReasons.length > 0) handle.lastActiveAtMs = this.#lifecycle.deps.clock.now();
			const pending = status.busyReasons.filter((reason) => reason.startsWith('ingress')).length;
			return { pendingIngress: pending, runningTurns: status.busyReasons.length - pending, openStreams: status.inFlightForwards };
		} catch {
			// Whatever kept it from answering, it is not known to be idle.
			return { activityKnown: false };
		}
	}

	#decide(handle: InstanceHandle, pool: PoolView, signals: ActivitySignals): SleepDecision {
		const { row } = handle;
		const inhibitors: ReadonlySet<Inhibitor> = inhibitorsOf(signals);
		const siblings = this.#lifecycle.handles.filter((h) => h.row.poolId === row.poolId && h.row.tenantId === row.tenantId);
		const enteredRunningAtMs = row.enteredRunningAt?.getTime();
		return decideSleep({
			nowMs: this.#lifecycle.deps.clock.now(),
			state: row.state === 'warm' ? 'warm' : 'running',
			idleSinceMs: Math.max(handle.lastActiveAtMs ?? 0, enteredRunningAtMs ?? 0) || undefined,
			enteredRunningAtMs,
			enteredWarmAtMs: row.enteredWarmAt?.getTime(),
			runtimePolicy: pool.spec.runtimePolicy,
			sleepPolicy: pool.spec.sleepPolicy,
			inhibitors,
			pinned: pool.spec.pinned,
			critical: pool.spec.critical,
			counts: {
				running: siblings.filter((h) => h.row.state === 'running').length,
				warm: siblings.filter((h) => h.row.state === 'warm').length,
			},
			floors: pool.spec.desired,
			canWarm: true,
			takenSinceCheckpoint: handle.takenSinceCheckpoint,
			lastCheckpointAtMs: handle.lastCheckpointAtMs,
		});
	}
}
