// Joins two byte streams in both directions. Each half ends on its own; an error on either ends both.
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';

/** Resolves when both directions are over; never rejects. */
export function splice(a: Duplex, b: Duplex): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	let open = 2;
	const over = (error: Error | null | undefined): void => {
		open -= 1;
		if (error) {
			a.destroy();
			b.destroy();
		}
		if (open === 0) resolve();
	};
	pipeline(a, b, over);
	pipeline(b, a, over);
	return promise;
}
