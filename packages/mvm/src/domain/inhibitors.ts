// Why an instance must not be frozen or put to sleep now: a set of named reasons, empty when it may. Computed by lifecycle
// and the idle loop from signals they gathered; a boolean or a counter could not say why.

/** Every reason, with what it means for people. */
export const INHIBITORS = {
	task_lease: 'it holds the lease of a task',
	busy_executor: 'an executor in it is working',
	running_turn: 'a turn of its agent is running',
	held_ingress: 'a request is held for it or being answered by it',
	pending_ingress: 'messages wait for it, in the platform or inside its agent',
	open_stream: 'a stream into it is open',
	manual_pin: 'it is pinned',
	critical_checkpoint_failing: 'the checkpoint of a critical integration fails',
	minimum_runtime: 'it has not been in its state for the minimum time',
	unknown_activity: 'its guest does not say whether it is busy',
	operation_in_progress: 'an operation on it is in progress',
} as const;
export type Inhibitor = keyof typeof INHIBITORS;

/** What is known about one instance. Counts are at the moment of asking. */
export interface ActivitySignals {
	readonly taskLeases: number;
	readonly busyExecutors: number;
	readonly runningTurns: number;
	/** Requests held for it or being answered by it. */
	readonly heldRequests: number;
	/** Retained messages that are due for it, and messages that its agent has taken but not worked on. */
	readonly pendingIngress: number;
	readonly openStreams: number;
	/** Of the instance or of its pool. */
	readonly pinned: boolean;
	/** A critical integration's last checkpoint failed and its back-off has not passed. */
	readonly criticalCheckpointFailing: boolean;
	readonly minimumRuntimeMet: boolean;
	/** False when the guest did not answer, or answered what this host cannot read: counts as busy. */
	readonly activityKnown: boolean;
	/** Another operation than the asking one. */
	readonly operationInProgress: boolean;
}

/** An instance about which nothing keeps it awake; tests and callers override what they know. */
export const QUIET: ActivitySignals = {
	taskLeases: 0,
	busyExecutors: 0,
	runningTurns: 0,
	heldRequests: 0,
	pendingIngress: 0,
	openStreams: 0,
	pinned: false,
	criticalCheckpointFailing: false,
	minimumRuntimeMet: true,
	activityKnown: true,
	operationInProgress: false,
};

/** The reasons that hold now, in the order of `INHIBITORS`. Counts that are not zero or not a number hold. */
export function inhibitorsOf(signals: ActivitySignals): ReadonlySet<Inhibitor> {
	const holds: { readonly [I in Inhibitor]: boolean } = {
		task_lease: signals.taskLeases !== 0,
		busy_executor: signals.busyExecutors !== 0,
		running_turn: signals.runningTurns !== 0,
		held_ingress: signals.heldRequests !== 0,
		pending_ingress: signals.pendingIngress !== 0,
		open_stream: signals.openStreams !== 0,
		manual_pin: signals.pinned,
		critical_checkpoint_failing: signals.criticalCheckpointFailing,
		minimum_runtime: !signals.minimumRuntimeMet,
		unknown_activity: !signals.activityKnown,
		operation_in_progress: signals.operationInProgress,
	};
	return new Set((Object.keys(INHIBITORS) as Inhibitor[]).filter((name) => holds[name]));
}

/**
 * What still holds when the caller insists (`--force`, or a memory emergency): another operation always does. The others are
 * overridden and recorded by the caller.
 */
export function inhibitorsUnderForce(held: ReadonlySet<Inhibitor>): ReadonlySet<Inhibitor> {
	return new Set([...held].filter((name) => name === 'operation_in_progress'));
}

/** One sentence for logs, conditions and errors; empty when nothing holds. */
export function explainInhibitors(held: ReadonlySet<Inhibitor>): string {
	return [...held].map((name) => INHIBITORS[name]).join('; ');
}
