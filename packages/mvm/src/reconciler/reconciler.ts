// Brings what is desired and what is there together: observes, lets domain/planner decide, applies through lifecycle. Runs when
// something changed and, while anything is awake, at an interval. The only loop that starts or rests instances by itself.
import { type InstanceId, isMvmError } from '@mvm/protocol';
import type { Action, DeferredAction, Demand, Desired, ObservedInstance, Plan } from '../domain/plan-world.ts';
import { plan } from '../domain/planner.ts';
import { backOffMs, CHECKPOINT_RETRY, START_RETRY } from '../domain/retry.ts';
import type { Logger } from '../platform/logger.ts';
import type { Clock } from '../ports/clock.ts';

type Resting = Action & { readonly kind: 'warm' | 'sleep' | 'checkpoint'; readonly instanceId: InstanceId };

export interface ReconcilerDeps {
	readonly clock: Clock;
	readonly log: Logger;
	readonly intervalMs: number;
	/** From the store; called again after `invalidate`. */
	readonly readDesired: () => Promise<Desired>;
	readonly readDemand: () => readonly Demand[];
	readonly observe: () => readonly ObservedInstance[];
	/** Asks the guests of these instances what they are doing; `observe` tells afterwards. */
	readonly askActivity: (ids: readonly ObservedInstance['id'][]) => Promise<void>;
	/** Resolves when the action has begun so far that `observe` shows it; `done` when it has ended. */
	readonly apply: (action: Action) => Promise<{ readonly done: Promise<void> }>;
	/** A rest failed: not again before this moment. */
	readonly onRestFailed: (id: ObservedInstance['id'], backOffMs: (failures: number) => number) => void;
	readonly onDeferred: (deferred: readonly DeferredAction[]) => void;
}

const IDLE_LOOK_MS = 30_000;

export class Reconciler {
	readonly #deps: ReconcilerDeps;
	#desired: Desired | undefined;
	#changes = 0;
	#cancel: (() => void) | undefined;
	#round: Promise<void> | undefined;
	#isDirty = false;
	#isStopped = false;

	constructor(deps: ReconcilerDeps) {
		this.#deps = deps;
	}

	/** Something changed: look now. Cheap to call often. */
	poke(): void {
		if (this.#isStopped) return;
		this.#isDirty = true;
		this.#round ??= this.#rounds().finally(() => {
			this.#round = undefined;
		});
	}

	/** The desired state changed in the store. */
	invalidate(): void {
		this.#desired = undefined;
		this.#changes += 1;
		this.poke();
	}

	/** What would be done now; changes nothing. */
	async dryRun(desired?: Desired): Promise<Plan> {
		return this.#plan(desired ?? (await this.#deps.readDesired()));
	}

	async stop(): Promise<void> {
		this.#isStopped = true;
		this.#cancel?.();
		await this.#round;
	}

	async #rounds(): Promise<void> {
		while (this.#isDirty && !this.#isStopped) {
			this.#isDirty = false;
			this.#cancel?.();
			let nextMs = this.#deps.intervalMs;
			try {
				nextMs = await this.#once();
			} catch (error) {
				this.#deps.log.warn({ err: error }, 'reconcile round failed');
			}
			this.#cancel = this.#deps.clock.after(nextMs, () => this.poke());
		}
	}

	async #once(): Promise<number> {
		const { clock, intervalMs, observe, askActivity, onDeferred } = this.#deps;
		const desired = await this.#readDesired();
		const first = this.#plan(desired);
		const resting = first.actions.filter(isResting).map((action) => action.instanceId);
		if (resting.length > 0) await askActivity(resting);
		const { actions, deferred, nextCheckAtMs } = resting.length > 0 ? this.#plan(desired) : first;
		onDeferred(deferred);
		await Promise.all(actions.map((action) => this.#apply(action)));
		const isAnyAwake = observe().some((i) => i.state === 'running' || i.state === 'warm' || i.operation !== undefined);
		const untilDue = nextCheckAtMs === undefined ? IDLE_LOOK_MS : Math.max(0, nextCheckAtMs - clock.now());
		return isAnyAwake || actions.length > 0 ? intervalMs : Math.min(IDLE_LOOK_MS, Math.max(intervalMs, untilDue));
	}

	/** Kept until it changes; what was read while it changed serves this round and is not kept. */
	async #readDesired(): Promise<Desired> {
		if (this.#desired !== undefined) return this.#desired;
		const before = this.#changes;
		const desired = await this.#deps.readDesired();
		if (before === this.#changes) this.#desired = desired;
		return desired;
	}

	#plan(desired: Desired): Plan {
		return plan(desired, this.#deps.readDemand(), this.#deps.observe(), this.#deps.clock.now());
	}

	/** A failure is the instance's own matter: its row, its condition and its back-off tell; the round goes on. */
	async #apply(action: Action): Promise<void> {
		const { log } = this.#deps;
		const keys = { action: action.kind, reason: action.reason, tenant_id: action.tenantId, pool_id: action.poolId };
		const failed = (error: unknown): void => {
			if (isMvmError(error, 'SLEEP_ABORTED') || isMvmError(error, 'CANCELLED') || isMvmError(error, 'OPERATION_IN_PROGRESS'))
				return;
			log.warn({ err: error, ...keys }, 'planned action failed');
			if (isResting(action)) {
				// An integration that fails goes on failing for a while; a part of the platform that was away is soon back.
				const policy = isMvmError(error, 'CHECKPOINT_FAILED') ? CHECKPOINT_RETRY : START_RETRY;
				this.#deps.onRestFailed(action.instanceId, (failures) => backOffMs(policy, failures, Math.random()));
			}
		};
		try {
			const { done } = await this.#deps.apply(action);
			void done.catch(failed).finally(() => this.poke());
		} catch (error) {
			failed(error);
		}
	}
}

function isResting(action: Action): action is Resting {
	return action.kind === 'warm' || action.kind === 'sleep' || action.kind === 'checkpoint';
}
