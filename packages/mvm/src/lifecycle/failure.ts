// What a failed operation leaves in the row: the truth of the host, a condition with the reason, and a back-off for starts.
import type { Condition, MvmError } from '@mvm/protocol';
import type { Observed } from '../ports/runtime.ts';
import type { InstancePatch, InstanceRow } from '../state/index.ts';

const FIRST_BACKOFF_MS = 2_000;
const MAX_BACKOFF_MS = 300_000;

/** Replaces or adds a condition by its type. */
export function withCondition(conditions: readonly Condition[], next: Condition): readonly Condition[] {
	return [...conditions.filter((c) => c.type !== next.type), next];
}

/** Pure; `observed` is what the runtime shows after the undo. */
export function failurePatch(input: {
	readonly row: InstanceRow;
	readonly observed: Observed | undefined;
	readonly incarnation: number;
	readonly nowMs: number;
	readonly isStart: boolean;
	readonly failure: MvmError;
}): InstancePatch {
	const { row, observed, failure, isStart, nowMs } = input;
	const needsAttention = failure.code === 'NEEDS_ATTENTION' || failure.code === 'CHECKPOINT_CORRUPT';
	const condition: Condition = {
		type: needsAttention ? 'NeedsAttention' : isStart ? 'StartFailed' : 'OperationFailed',
		status: true,
		reason: failure.code,
		message: failure.message,
	};
	const failures = isStart ? row.failures + 1 : row.failures;
	const backoffMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 1));
	const aborted = failure.code === 'SLEEP_ABORTED' || failure.code === 'CANCELLED';
	return {
		...stateOf(row, observed, nowMs),
		...(aborted ? {} : { conditions: withCondition(row.conditions, condition) }),
		...(isStart ? { failures, backoffUntil: new Date(nowMs + backoffMs) } : {}),
	};
}

/** The state that fits what the host shows; the row's own when the host shows nothing alive and nothing was expected. */
function stateOf(row: InstanceRow, observed: Observed | undefined, nowMs: number): InstancePatch {
	switch (observed?.state) {
		case 'running':
			return {
				state: 'running',
				hibernated: false,
				enteredRunningAt: row.enteredRunningAt ?? new Date(nowMs),
				enteredWarmAt: null,
			};
		case 'frozen':
			return observed.hibernated
				? { state: 'sleeping', hibernated: true }
				: { state: 'warm', hibernated: false, enteredWarmAt: row.enteredWarmAt ?? new Date(nowMs) };
		default:
			return row.state === 'running' || row.state === 'warm'
				? { state: 'stopped', hibernated: false, enteredRunningAt: null, enteredWarmAt: null }
				: { hibernated: false };
	}
}
