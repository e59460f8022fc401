// Joins the reconciler with lifecycle: what it sees of the handles, and how each kind of action is begun.
import { MvmError } from '@mvm/protocol';
import type { Action } from '../domain/plan-world.ts';
import { systemClock } from '../drivers/clock/system.ts';
import { askActivity, type Lifecycle, observe } from '../lifecycle/index.ts';
import type { ReconcilerDeps } from '../reconciler/index.ts';

const PATIENCE_MS = 3_600_000;

/** Everything of ReconcilerDeps that is about instances. */
export function instanceSide(
	lifecycle: Lifecycle,
	newTraceId: () => string,
): Pick<ReconcilerDeps, 'observe' | 'askActivity' | 'apply' | 'onRestFailed' | 'onDeferred'> {
	return {
		observe: () => lifecycle.handles.map((handle) => observe(handle, systemClock.now())),
		askActivity: async (ids) => {
			const asked = new Set(ids);
			const running = lifecycle.handles.filter((h) => asked.has(h.id) && h.row.state === 'running' && h.operation === undefined);
			await Promise.all(running.map((handle) => askActivity(handle, systemClock)));
		},
		apply: async (action) => apply(lifecycle, action, newTraceId()),
		onRestFailed: (id, backOff) => {
			const handle = lifecycle.handles.find((h) => h.id === id);
			if (handle === undefined) return;
			handle.sleepFailures += 1;
			handle.sleepRetryAtMs = systemClock.now() + backOff(handle.sleepFailures);
		},
		onDeferred: (deferred) => {
			for (const handle of lifecycle.handles) {
				handle.deferredBy = deferred.filter((d) => d.instanceId === handle.id).map((d) => d.code);
			}
		},
	};
}

async function apply(lifecycle: Lifecycle, action: Action, traceId: string): Promise<{ done: Promise<void> }> {
	const options = { reason: `policy:${action.reason}`, traceId, signal: AbortSignal.timeout(PATIENCE_MS) };
	switch (action.kind) {
		case 'create': {
			const row = await lifecycle.create(action, options);
			return { done: lifecycle.wake(row.id, options).then(() => undefined) };
		}
		case 'start':
		case 'wake':
			return { done: lifecycle.wake(action.instanceId, options).then(() => undefined) };
		case 'warm':
			return { done: lifecycle.warm(action.instanceId, options) };
		case 'sleep':
			return { done: lifecycle.sleep(action.instanceId, options) };
		case 'checkpoint':
			return { done: lifecycle.checkpoint(action.instanceId, options) };
		default:
			action satisfies never;
			throw new MvmError('INTERNAL', 'unknown action');
	}
}
