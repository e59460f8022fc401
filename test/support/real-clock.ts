// The real clock for tests that wait on real things (a server, a process).
import { setTimeout as wait } from 'node:timers/promises';
import type { Clock } from '../../packages/mvm/src/ports/clock.ts';

export const realClock: Clock = {
	now: () => Date.now(),
	monotonic: () => performance.now(),
	sleep: async (ms, { signal }) => {
		await wait(ms, undefined, { signal });
	},
	after: (ms, run) => {
		const timer = setTimeout(run, ms);
		timer.unref();
		return () => clearTimeout(timer);
	},
};
