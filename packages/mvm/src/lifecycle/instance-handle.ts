// What the daemon holds in memory for one instance: its row, its link, its running operation, and who keeps it awake.
// Only Lifecycle touches it; every field but the row is lost with the daemon and rebuilt by recovery.
import type { InstanceId } from '@mvm/protocol';
import type { ActivitySignals } from '../domain/inhibitors.ts';
import type { OperationKind, OperationStep } from '../domain/operation.ts';
import type { Link } from '../ports/link.ts';
import type { InstanceRow } from '../state/index.ts';

export interface RunningOperation {
	readonly kind: OperationKind;
	readonly startedAtMs: number;
	/** Settles when the operation has ended, well or badly; never rejects. */
	readonly ended: Promise<void>;
	/** The operation's own result; joined by callers that ask for the same. */
	readonly result: Promise<unknown>;
	readonly abort: AbortController;
	/** The last step that was begun. */
	step: OperationStep;
}

/** Named reasons that keep an instance awake, each held any number of times. */
export type HoldReason = 'held_ingress' | 'open_stream' | 'task_lease';

export class InstanceHandle {
	readonly id: InstanceId;
	row: InstanceRow;
	link: Link | undefined;
	operation: RunningOperation | undefined;
	/** Row, journal and host may disagree: an operation was cut off. Nothing is begun before recovery has settled it. */
	needsSettling = false;
	/** Recovery at work on it. */
	settling: Promise<void> | undefined;
	/** A running guest is being waited for after recovery. */
	isGreeting = false;
	/** What quotas count it as; undefined before its pool was first read. */
	size: { readonly vcpus: number; readonly memMib: number; readonly dataDiskMib: number } | undefined;
	/** Failed sleeps in a row, and when the next may be tried. */
	sleepFailures = 0;
	sleepRetryAtMs = 0;
	/** When the last hold was released or the guest last reported activity, epoch ms; undefined before the first. */
	lastActiveAtMs: number | undefined;
	/** Messages handed over since the last checkpoint. */
	takenSinceCheckpoint = 0;
	lastCheckpointAtMs: number | undefined;
	/** The guest's last word on its activity, and when it was said. */
	guestSays: { readonly atMs: number; readonly signals: Partial<ActivitySignals> } | undefined;
	/** Why policy did not put it to sleep at its last look. */
	deferredBy: readonly string[] = [];
	readonly #holds = new Map<HoldReason, number>();

	constructor(row: InstanceRow) {
		this.id = row.id;
		this.row = row;
	}

	/** Names of what holds the instance awake now. */
	get holds(): readonly HoldReason[] {
		return [...this.#holds.keys()];
	}

	/** Keeps policy from putting it to sleep; whether it runs is for the caller to see. */
	hold(reason: HoldReason, now: () => number): () => void {
		this.#holds.set(reason, (this.#holds.get(reason) ?? 0) + 1);
		let held = true;
		return () => {
			if (!held) return;
			held = false;
			const left = (this.#holds.get(reason) ?? 1) - 1;
			if (left === 0) this.#holds.delete(reason);
			else this.#holds.set(reason, left);
			this.lastActiveAtMs = now();
		};
	}

	/** True when traffic may pass right now. */
	get isServing(): boolean {
		return this.operation === undefined && !this.needsSettling && this.row.state === 'running' && this.link?.state === 'up';
	}
}
