// A hand-driven clock for unit tests: time moves only by `advance`, timers fire in order of their due time.
import type { Clock } from '../../ports/clock.ts';

interface Timer {
	readonly dueAt: number;
	readonly order: number;
	readonly run: () => void;
}

export class FakeClock implements Clock {
	#now: number;
	#order = 0;
	readonly #timers = new Set<Timer>();

	constructor(startMs = 1_700_000_000_000) {
		this.#now = startMs;
	}

	now(): number {
		return this.#now;
	}

	monotonic(): number {
		return this.#now;
	}

	sleep(ms: number, { signal }: { signal: AbortSignal }): Promise<void> {
		return new Promise((resolve, reject) => {
			if (signal.aborted) {
				reject(signal.reason);
				return;
			}
			const cancel = this.after(ms, () => {
				signal.removeEventListener('abort', onAbort);
				resolve();
			});
			const onAbort = (): void => {
				cancel();
				reject(signal.reason);
			};
			signal.addEventListener('abort', onAbort, { once: true });
		});
	}

	after(ms: number, run: () => void): () => void {
		const timer: Timer = { dueAt: this.#now + Math.max(0, ms), order: this.#order++, run };
		this.#timers.add(timer);
		return () => this.#timers.delete(timer);
	}

	/** Number of armed timers; a test that leaves some behind has leaked them. */
	get pending(): number {
		return this.#timers.size;
	}

	/** Moves time on, firing due timers one by one and letting promise callbacks run between them. */
	async advance(ms: number): Promise<void> {
		const until = this.#now + ms;
		for (;;) {
			await settle();
			const due = [...this.#timers].filter((t) => t.dueAt <= until).sort((a, b) => a.dueAt - b.dueAt || a.order - b.order)[0];
			if (due === undefined) break;
			this.#timers.delete(due);
			this.#now = Math.max(this.#now, due.dueAt);
			due.run();
		}
		this.#now = until;
		await settle();
	}
}

/** Lets everything that is already runnable run, without waiting for wall time. */
async function settle(): Promise<void> {
	for (let round = 0; round < 20; round += 1) await new Promise<void>((done) => setImmediate(done));
}
