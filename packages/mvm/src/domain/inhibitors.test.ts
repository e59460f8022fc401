// Each inhibitor has one signal, and a signal has one inhibitor.
import { expect, test } from 'vitest';
import {
	type ActivitySignals,
	explainInhibitors,
	INHIBITORS,
	type Inhibitor,
	inhibitorsOf,
	inhibitorsUnderForce,
	QUIET,
} from './inhibitors.ts';

const one: Record<Inhibitor, Partial<ActivitySignals>> = {
	task_lease: { taskLeases: 1 },
	busy_executor: { busyExecutors: 2 },
	running_turn: { runningTurns: 1 },
	held_ingress: { heldRequests: 1 },
	pending_ingress: { pendingIngress: 3 },
	open_stream: { openStreams: 1 },
	manual_pin: { pinned: true },
	critical_checkpoint_failing: { criticalCheckpointFailing: true },
	minimum_runtime: { minimumRuntimeMet: false },
	unknown_activity: { activityKnown: false },
	operation_in_progress: { operationInProgress: true },
};

test('a quiet instance has none', () => expect(inhibitorsOf(QUIET).size).toBe(0));
test.each(Object.entries(one))('%s alone', (name, signals) => {
	expect([...inhibitorsOf({ ...QUIET, ...signals })]).toEqual([name]);
});
test('all together, in the order of the registry', () => {
	const all = inhibitorsOf(Object.assign({}, QUIET, ...Object.values(one)) as ActivitySignals);
	expect([...all]).toEqual(Object.keys(INHIBITORS));
	expect([...inhibitorsUnderForce(all)]).toEqual(['operation_in_progress']);
	expect(explainInhibitors(all)).toContain('a turn of its agent is running; a request is held');
});
test('a count that is no number holds', () => {
	expect([...inhibitorsOf({ ...QUIET, taskLeases: Number.NaN })]).toEqual(['task_lease']);
});
