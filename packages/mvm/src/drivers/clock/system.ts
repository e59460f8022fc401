// The real clock. Constructed in main/ only.
import type { Clock } from '../../ports/clock.ts';

/** Wall time, monotonic time and unreferenced timers of this process. */
export const systemClock: Clock = {
	now: () => Date.now(),
	monotonic: () => performance.now(),
	sleep: (ms, { signal }) =>
		new Promise((resolve, reject) => {
			if (signal.aborted) {
				reject(signal.reason);
				return;
			}
			const timer = setTimeout(() => {
				signal.removeEventListener('abort', onAbort);
				resolve();
			}, ms);
			const onAbort = (): void => {
				clearTimeout(timer);
				reject(signal.reason);
			};
			signal.addEventListener('abort', onAbort, { once: true });
		}),
	after: (ms, run) => {
		const timer = setTimeout(run, ms);
		timer.unref();
		return () => clearTimeout(timer);
	},
};
