// Operations: what may be in progress on an instance, as a journal of named steps. lifecycle/ writes the step down before it
// acts (so a step found in the journal was begun, perhaps done), one open operation per instance. Recovery: recovery.ts.

/**
 * The steps of each kind, in order. A run may leave steps out (a warm instance needs no boot) but never goes back. Steps that
 * leave no trace outside, or whose trace the host shows anyway (thaw), need not be journaled: recovery asks the host.
 */
export const OPERATION_STEPS = {
	create: ['claim', 'prepare', 'resolve_image', 'release'],
	start: ['claim', 'prepare', 'restore_data', 'secrets', 'boot', 'link', 'post_restore', 'wake_guest', 'ready', 'release'],
	stop: ['claim', 'fence', 'drain', 'stop_tree', 'release'],
	warm: ['claim', 'fence', 'checkpoint_integrations', 'sleep_prep', 'freeze', 'release'],
	sleep: [
		'claim',
		'thaw_if_warm',
		'fence',
		'checkpoint_integrations',
		'sleep_prep',
		'freeze',
		// Fsynced and verified before the next step, which may give the memory up.
		'write_manifest',
		'snapshot',
		// Without a memory snapshot: the tree is ended and the next wake is cold.
		'stop_tree',
		'verify',
		'release',
	],
	// Warm and hibernated: claim, thaw, then from post_restore on. Cold, or when the memory turns out lost: from prepare on.
	wake: ['claim', 'thaw', 'prepare', 'restore_data', 'secrets', 'boot', 'link', 'post_restore', 'wake_guest', 'ready', 'release'],
	checkpoint: [
		'claim',
		'fence',
		'checkpoint_integrations',
		'freeze',
		'write_manifest',
		'verify',
		'thaw',
		'post_restore',
		'release',
	],
	destroy: ['claim', 'fence', 'stop_tree', 'erase', 'release'],
} as const;
export type OperationKind = keyof typeof OPERATION_STEPS;
export type OperationStep<K extends OperationKind = OperationKind> = (typeof OPERATION_STEPS)[K][number];
export const OPERATION_KINDS = Object.keys(OPERATION_STEPS) as OperationKind[];

/** From this step on an operation is finished, never aborted: before it, everything done can be undone at no cost. */
export const POINT_OF_NO_RETURN: { readonly [K in OperationKind]: OperationStep<K> } = {
	create: 'prepare',
	start: 'boot',
	stop: 'stop_tree',
	warm: 'freeze',
	// Until then the tree is whole in memory, only frozen: a thaw undoes it.
	sleep: 'snapshot',
	wake: 'thaw',
	checkpoint: 'freeze',
	destroy: 'claim',
};

/** An unfinished operation as the journal holds it. */
export interface Operation {
	readonly kind: OperationKind;
	/** The last step that was begun. */
	readonly step: OperationStep;
	/** The incarnation that it was allotted last; that of the instance at its claim where it creates none. */
	readonly incarnation: number;
}

/** The position of a step in its kind, or -1 where the kind has no such step (a journal written by another version). */
export function stepIndex(kind: OperationKind, step: string): number {
	return (OPERATION_STEPS[kind] as readonly string[]).indexOf(step);
}

/** True when `step` is `mark` or comes after it. A step that the kind does not know counts as the first one. */
export function hasReached<K extends OperationKind>(kind: K, step: string, mark: OperationStep<K>): boolean {
	return stepIndex(kind, step) >= stepIndex(kind, mark);
}

/** True when the operation can no longer be aborted. */
export function isPastNoReturn(kind: OperationKind, step: string): boolean {
	return hasReached(kind, step, POINT_OF_NO_RETURN[kind]);
}

/** True when `next` may be begun after `step`: forward only, leaving out as many as the path needs. */
export function mayBegin(kind: OperationKind, step: string, next: string): boolean {
	const to = stepIndex(kind, next);
	return to >= 0 && to > stepIndex(kind, step);
}

export type Joining =
	/** The operation in flight ends where the caller wants to be: share its result. */
	| 'join'
	/** Ask it to stop before its point of no return, wait until it has undone itself, then run. */
	| 'abort_then_run'
	/** Wait for its end, whatever that is, look again, then run. */
	| 'wait_then_run'
	/** It makes the request pointless or wrong. */
	| 'refuse';

type Rule = Joining | { readonly before: Joining; readonly after: Joining };
const abortable: Rule = { before: 'abort_then_run', after: 'wait_then_run' };
const awake: { readonly [K in OperationKind]: Rule } = {
	create: 'wait_then_run',
	start: 'join',
	stop: abortable,
	warm: abortable,
	sleep: abortable,
	wake: 'join',
	checkpoint: abortable,
	destroy: 'refuse',
};

/** Total over (requested, in flight). */
const JOINING: { readonly [R in OperationKind]: { readonly [F in OperationKind]: Rule } } = {
	create: {
		create: 'join',
		start: 'refuse',
		stop: 'refuse',
		warm: 'refuse',
		sleep: 'refuse',
		wake: 'refuse',
		checkpoint: 'refuse',
		destroy: 'refuse',
	},
	start: awake,
	wake: awake,
	stop: {
		create: 'wait_then_run',
		start: 'wait_then_run',
		stop: 'join',
		warm: abortable,
		sleep: abortable,
		wake: 'wait_then_run',
		checkpoint: 'wait_then_run',
		destroy: 'refuse',
	},
	warm: {
		create: 'refuse',
		start: 'wait_then_run',
		stop: 'refuse',
		warm: 'join',
		sleep: 'refuse',
		wake: 'wait_then_run',
		checkpoint: 'wait_then_run',
		destroy: 'refuse',
	},
	sleep: {
		create: 'refuse',
		start: 'wait_then_run',
		stop: 'refuse',
		warm: 'wait_then_run',
		sleep: 'join',
		wake: 'wait_then_run',
		checkpoint: 'wait_then_run',
		destroy: 'refuse',
	},
	checkpoint: {
		create: 'refuse',
		start: 'wait_then_run',
		stop: 'wait_then_run',
		warm: 'wait_then_run',
		sleep: 'wait_then_run',
		wake: 'wait_then_run',
		checkpoint: 'join',
		destroy: 'refuse',
	},
	destroy: {
		create: 'wait_then_run',
		start: 'wait_then_run',
		stop: abortable,
		warm: abortable,
		sleep: abortable,
		wake: 'wait_then_run',
		checkpoint: abortable,
		destroy: 'join',
	},
};

/** What a caller does who wants `requested` while `inFlight` runs on the same instance. */
export function joinable(
	requested: OperationKind,
	inFlight: { readonly kind: OperationKind; readonly pastNoReturn: boolean },
): Joining {
	const rule = JOINING[requested][inFlight.kind];
	if (typeof rule === 'string') return rule;
	return inFlight.pastNoReturn ? rule.after : rule.before;
}
