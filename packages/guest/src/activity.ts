// What the instance is busy with, from real work: open forwards, running integration commands, and what the adapter knows of its
// workload. Never from processor load.
import type { WorkloadAdapter } from './adapter.ts';

const ADAPTER_MS = 1000;

export class Activity {
	readonly #counts = new Map<string, number>();
	readonly #waiters = new Set<() => void>();
	readonly #now: () => number;
	#lastAt: number | null = null;
	#forwards = 0;

	constructor(now: () => number) {
		this.#now = now;
	}

	get forwards(): number {
		return this.#forwards;
	}

	/** Epoch milliseconds of the last moment in which something was going on; null when nothing was yet. */
	get lastAt(): number | null {
		return this.#forwards > 0 || this.#counts.size > 0 ? this.#now() : this.#lastAt;
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
		return this.#forwards > 0 ? [`forwards:${this.#forwards}`, ...own] : own;
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
		while (this.#forwards > 0 || this.#counts.size > 0) {
			if (signal.aborted) return false;
			await new Promise<void>((resolve) => {
				const done = (): void => {
					this.#waiters.delete(done);
					signal.removeEventListener('abort', done);
					resolve();
				};
				this.#waiters.add(done);
				signal.addEventListener('abort', done, { once: true });
			});
		}
		return true;
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
