// What the instance is busy with, from real work: open forwards, running integration commands, requests at endpoints that wait for
// their answer, and what the adapter knows of its workload. Never from processor load.
import type { WorkloadAdapter } from './adapter.ts';

const ADAPTER_MS = 1000;
const ANSWER_SETTLES_MS = 200;

interface Exchange {
	readonly name: string;
	isAsking: boolean;
	/** Monotonic milliseconds of the last byte in either direction. */
	movedAt: number;
}

export class Activity {
	readonly #counts = new Map<string, number>();
	readonly #waiters = new Set<() => void>();
	readonly #now: () => number;
	#lastAt: number | null = null;
	#forwards = 0;
	readonly #exchanges = new Set<Exchange>();

	constructor(now: () => number) {
		this.#now = now;
	}

	get forwards(): number {
		return this.#forwards;
	}

	/** Epoch milliseconds of the last moment in which something was going on; null when nothing was yet. */
	get lastAt(): number | null {
		return this.ownReasons().length > 0 ? this.#now() : this.#lastAt;
	}

	/** Marks the begin of a named thing; the returned function its end. */
	begin(reason: string): () => void {
		this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
		return this.#once(() => {
			const left = (this.#counts.get(reason) ?? 1) - 1;
			if (left === 0) this.#counts.delete(reason);
			else this.#counts.set(reason, left);
		});
	}

	beginForward(): () => void {
		this.#forwards += 1;
		return this.#once(() => {
			this.#forwards -= 1;
		});
	}

	/** The agent's own reasons, without asking the workload. */
	ownReasons(): string[] {
		const own = [...this.#counts].map(([reason, count]) => (count === 1 ? reason : `${reason}:${count}`));
		const open = new Set([...this.#exchanges].filter((exchange) => this.#isOpen(exchange)).map(({ name }) => `endpoint:${name}`));
		return this.#forwards > 0 ? [`forwards:${this.#forwards}`, ...own, ...open] : [...own, ...open];
	}

	/**
	 * Follows a connection of the workload to an endpoint. It counts as busy while the workload has asked and the answer has not
	 * begun, and for a moment after the last byte of an answer: a kept-alive connection does not.
	 */
	follow(name: string): { asked(): void; answered(): void; ended(): void } {
		const exchange: Exchange = { name, isAsking: false, movedAt: Number.NEGATIVE_INFINITY };
		this.#exchanges.add(exchange);
		const moved = (isAsking: boolean): void => {
			exchange.isAsking = isAsking;
			exchange.movedAt = performance.now();
			this.#lastAt = this.#now();
		};
		return { asked: () => moved(true), answered: () => moved(false), ended: () => void this.#exchanges.delete(exchange) };
	}

	/** Asks the workload, too; one that does not answer in a second counts as busy. */
	async reasons(adapter: WorkloadAdapter): Promise<string[]> {
		const signal = AbortSignal.timeout(ADAPTER_MS);
		const late = new Promise<string[]>((resolve) => {
			signal.addEventListener('abort', () => resolve(['adapter:no-answer']), { once: true });
		});
		const asked = adapter.busy({ signal }).then(
			(reasons) => [...reasons],
			() => ['adapter:unknown'],
		);
		const reasons = [...this.ownReasons(), ...(await Promise.race([asked, late]))];
		if (reasons.length > 0) this.#lastAt = this.#now();
		return reasons;
	}

	/** Resolves true when nothing of the agent's own is going on, false when the signal aborts first. */
	async quiet(signal: AbortSignal): Promise<boolean> {
		while (this.ownReasons().length > 0) {
			if (signal.aborted) return false;
			await new Promise<void>((resolve) => {
				const done = (): void => {
					clearTimeout(timer);
					this.#waiters.delete(done);
					signal.removeEventListener('abort', done);
					resolve();
				};
				// An answer that has ended is only seen by time.
				const timer = setTimeout(done, ANSWER_SETTLES_MS / 4);
				this.#waiters.add(done);
				signal.addEventListener('abort', done, { once: true });
			});
		}
		return true;
	}

	#isOpen(exchange: Exchange): boolean {
		return exchange.isAsking || performance.now() - exchange.movedAt < ANSWER_SETTLES_MS;
	}

	#once(end: () => void): () => void {
		this.#lastAt = this.#now();
		let isEnded = false;
		return () => {
			if (isEnded) return;
			isEnded = true;
			end();
			this.#lastAt = this.#now();
			for (const wake of [...this.#waiters]) wake();
		};
	}
}
