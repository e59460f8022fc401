// Keeps the gauges that nobody counts up and down: instances by state, retained messages by state.
import { INSTANCE_STATES, MESSAGE_STATES } from '@mvm/protocol';
import { systemClock } from '../drivers/clock/system.ts';
import type { Lifecycle } from '../lifecycle/index.ts';
import type { Metrics } from '../platform/metrics.ts';
import { countMessages, type Database } from '../state/index.ts';

const EVERY_MS = 10_000;

/** Returns what ends it. */
export function keepGauges(lifecycle: Lifecycle, metrics: Metrics, db: Database): () => void {
	let cancel = (): void => {};
	const look = async (): Promise<void> => {
		const { handles } = lifecycle;
		for (const state of INSTANCE_STATES) metrics.instances.set({ state }, handles.filter((h) => h.row.state === state).length);
		const counts = await db.asSystem((tx) => countMessages(tx)).catch(() => []); // the store is away: the next look tells
		for (const state of MESSAGE_STATES) {
			const of = counts.filter((count) => count.state === state);
			metrics.retainedMessages.set(
				{ state },
				of.reduce((sum, count) => sum + count.messages, 0),
			);
		}
	};
	const arm = (): void => {
		cancel = systemClock.after(EVERY_MS, () => void look().finally(arm));
	};
	void look();
	arm();
	return () => cancel();
}
