// Which process is killed at which named step, decided by a seed. Pure but for counting what was done; the kill test drives it.

export const TARGETS = ['daemon', 'hostd', 'postmaster', 'agent'] as const;
export type Target = (typeof TARGETS)[number];

/** Steps as the test's watchers name them. */
export const STEPS = [
	'message.stored',
	'message.claimed',
	'message.taken',
	'message.settled',
	'wake.claim',
	'thaw',
	'wake_guest',
	'prepare',
	'boot',
	'link',
	'post_restore',
	'ready',
	'sleep.claim',
	'checkpoint_integrations',
	'sleep_prep',
	'freeze',
	'write_manifest',
	'snapshot',
	'stop_tree',
	'replied',
] as const;
export type Step = (typeof STEPS)[number];

/** A small generator with a seed (mulberry32): the same seed gives the same plan. */
export function randomFrom(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let mixed = Math.imul(state ^ (state >>> 15), state | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
	};
}

export class KillPlan {
	readonly #random: () => number;
	readonly #wanted: Map<Step, Target[]>;
	readonly #done = new Map<Step, Target[]>();
	#lastAt = Number.NEGATIVE_INFINITY;

	/** Every step is hit by `perStep` different processes. */
	constructor(seed: number, perStep: number) {
		this.#random = randomFrom(seed);
		this.#wanted = new Map(STEPS.map((step) => [step, this.#shuffled(TARGETS).slice(0, perStep)]));
	}

	get kills(): number {
		return [...this.#done.values()].reduce((sum, targets) => sum + targets.length, 0);
	}

	/** Steps that were not hit by anything. */
	get missed(): Step[] {
		return STEPS.filter((step) => !this.#done.has(step));
	}

	/** Whom to kill now, at this step, and how much later; undefined: nobody. `eagerly` takes every chance. */
	next(
		step: Step,
		nowMs: number,
		options: { readonly gapMs: number; readonly eagerly: boolean },
	): { target: Target; delayMs: number } | undefined {
		const targets = this.#wanted.get(step) ?? [];
		const [target] = targets;
		if (target === undefined || nowMs - this.#lastAt < options.gapMs) return undefined;
		if (!options.eagerly && this.#random() < 0.5) return undefined;
		targets.shift();
		this.#lastAt = nowMs;
		return { target, delayMs: this.#random() < 0.5 ? 0 : Math.floor(this.#random() * 12) };
	}

	/** The process was not there: it is tried again later. */
	giveBack(step: Step, target: Target): void {
		this.#wanted.get(step)?.push(target);
	}

	record(step: Step, target: Target): void {
		this.#done.set(step, [...(this.#done.get(step) ?? []), target]);
	}

	/** Lines for people: step, count, who. */
	report(): string[] {
		return STEPS.map((step) => {
			const targets = this.#done.get(step) ?? [];
			return `${step.padEnd(24)} ${String(targets.length).padStart(2)}  ${targets.join(' ')}`;
		});
	}

	#shuffled<T>(items: readonly T[]): T[] {
		return items
			.map((item) => ({ item, at: this.#random() }))
			.toSorted((a, b) => a.at - b.at)
			.map(({ item }) => item);
	}
}
