// Gathers single writes into flushes without a timer: what came in while one flush ran goes out in the next. Used by the
// accept path so that durable accepts per second grow with the number in flight. One flush runs at a time, so the order of
// calls is the order of ids.
/** What one item of a flush came to: a result, or the error that belongs to this item alone. */
export type ItemOutcome<Result> = { readonly ok: true; readonly value: Result } | { readonly ok: false; readonly error: unknown };

interface Waiting<Item, Result> {
	readonly item: Item;
	readonly weight: number;
	readonly resolve: (value: Result) => void;
	readonly reject: (error: unknown) => void;
}

export interface BatcherOptions<Item, Result> {
	/** Writes all items durably and returns one outcome per item, in order. A throw fails every item of the flush. */
	readonly flush: (items: readonly Item[]) => Promise<readonly ItemOutcome<Result>[]>;
	readonly maxItems: number;
	/** Upper bound of the summed weights of one flush; one item alone may exceed it. */
	readonly maxWeight: number;
	readonly weigh: (item: Item) => number;
}

export class Batcher<Item, Result> {
	readonly #options: BatcherOptions<Item, Result>;
	#waiting: Waiting<Item, Result>[] = [];
	#running: Promise<void> | undefined;

	constructor(options: BatcherOptions<Item, Result>) {
		this.#options = options;
	}

	/** Resolves once the item's flush has committed; rejects with the item's own error or the flush's. */
	add(item: Item): Promise<Result> {
		const { promise, resolve, reject } = Promise.withResolvers<Result>();
		this.#waiting.push({ item, weight: this.#options.weigh(item), resolve, reject });
		this.#running ??= this.#run();
		return promise;
	}

	/** Resolves when nothing waits and nothing is in flight. */
	async drain(): Promise<void> {
		while (this.#running !== undefined) await this.#running;
	}

	async #run(): Promise<void> {
		await Promise.resolve(); // everything that was added in this turn goes out together
		while (this.#waiting.length > 0) await this.#flushOnce(this.#take());
		this.#running = undefined;
	}

	#take(): Waiting<Item, Result>[] {
		let weight = 0;
		let count = 0;
		for (const waiting of this.#waiting) {
			weight += waiting.weight;
			if (count > 0 && (count >= this.#options.maxItems || weight > this.#options.maxWeight)) break;
			count += 1;
		}
		const batch = this.#waiting.slice(0, count);
		this.#waiting = this.#waiting.slice(count);
		return batch;
	}

	async #flushOnce(batch: readonly Waiting<Item, Result>[]): Promise<void> {
		let outcomes: readonly ItemOutcome<Result>[];
		try {
			outcomes = await this.#options.flush(batch.map((waiting) => waiting.item));
		} catch (error) {
			for (const waiting of batch) waiting.reject(error);
			return;
		}
		batch.forEach((waiting, at) => {
			const outcome = outcomes[at];
			if (outcome?.ok) waiting.resolve(outcome.value);
			else waiting.reject(outcome === undefined ? new Error('a flush returned no outcome for an item') : outcome.error);
		});
	}
}
