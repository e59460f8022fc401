// Counts what a guest makes the host do and says when it is too much. One per connection.
import type { Clock } from '../../../ports/clock.ts';

const WINDOW_MS = 1000;

/** Returns a function that is false once it was called more than `perSecond` times within a second. */
export function floodGuard(clock: Clock, perSecond: number): () => boolean {
	let since = clock.monotonic();
	let count = 0;
	return () => {
		const now = clock.monotonic();
		if (now - since >= WINDOW_MS) {
			since = now;
			count = 0;
		}
		count += 1;
		return count <= perSecond;
	};
}
