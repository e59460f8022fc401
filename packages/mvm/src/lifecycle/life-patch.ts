// From events to columns: the state machine's part of an instance row.
import { MvmError } from '@mvm/protocol';
import { advance, type InstanceEvent, type InstanceLife } from '../domain/instance-state.ts';
import type { InstancePatch, InstanceRow } from '../state/index.ts';

/** The columns that the state machine owns, after the events. Throws ILLEGAL_TRANSITION: the table has the last word. */
export function lifePatch(row: InstanceRow, events: readonly InstanceEvent[], nowMs: number): InstancePatch {
	let life: InstanceLife = { state: row.state, incarnation: row.incarnation, hibernated: row.hibernated };
	for (const event of events) {
		const step = advance(life, event);
		if (!step.ok) throw new MvmError('ILLEGAL_TRANSITION', step.reason, { details: { state: life.state, event: event.kind } });
		life = step.next;
	}
	if (life.state === row.state && life.hibernated === row.hibernated && events.length === 0) return {};
	const now = new Date(nowMs);
	return {
		state: life.state,
		hibernated: life.hibernated,
		...(life.state === 'running' && row.state !== 'running' ? { enteredRunningAt: now, enteredWarmAt: null } : {}),
		...(life.state === 'warm' && row.state !== 'warm' ? { enteredWarmAt: now } : {}),
		...(life.state === 'sleeping' || life.state === 'stopped' ? { enteredRunningAt: null, enteredWarmAt: null } : {}),
	};
}
