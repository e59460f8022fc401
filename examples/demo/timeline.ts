// What the demo prints: one line per thing that happened, with seconds since its start. On a terminal a last line shows what is being
// waited for; elsewhere only whole lines are written. Knows nothing about the platform.
import { styleText } from 'node:util';

const TICK_MS = 200;

export class Timeline {
	readonly #out: NodeJS.WriteStream;
	readonly #startedAt = performance.now();
	readonly #live: boolean;
	#waitingFor: { what: string; since: number; detail: string } | null = null;
	#ticker: NodeJS.Timeout | null = null;

	constructor(out: NodeJS.WriteStream) {
		this.#out = out;
		this.#live = out.isTTY === true;
	}

	/** Seconds since the start. */
	seconds(): number {
		return (performance.now() - this.#startedAt) / 1000;
	}

	title(text: string): void {
		this.#line(`\n${this.#live ? styleText('bold', text) : text}`);
	}

	/** One thing that happened; `who` is who did it: you, edge, mvm, agent, model. */
	event(who: string, text: string): void {
		const at = `${this.seconds().toFixed(1).padStart(6)} s`;
		this.#line(`${this.#live ? styleText('dim', at) : at}  ${who.padEnd(8)} ${text}`);
	}

	/** A line that belongs to the one before. */
	more(text: string): void {
		this.#line(`${' '.repeat(19)}${this.#live ? styleText('dim', text) : text}`);
	}

	/** Runs `work`; on a terminal shows what it is and for how long. `detail` replaces the small print behind it. */
	async waiting<T>(what: string, work: (detail: (text: string) => void) => Promise<T>): Promise<T> {
		const mine = { what, since: performance.now(), detail: '' };
		this.#waitingFor = mine;
		if (this.#live) this.#ticker ??= setInterval(() => this.#status(), TICK_MS).unref();
		try {
			return await work((text) => {
				mine.detail = text;
			});
		} finally {
			if (this.#waitingFor === mine) this.#waitingFor = null;
			if (this.#ticker !== null) clearInterval(this.#ticker);
			this.#ticker = null;
			this.#clear();
		}
	}

	#line(text: string): void {
		this.#clear();
		this.#out.write(`${text}\n`);
		this.#status();
	}

	#status(): void {
		if (!this.#live || this.#waitingFor === null) return;
		const { what, since, detail } = this.#waitingFor;
		const text = `        … ${what} (${((performance.now() - since) / 1000).toFixed(0)} s) ${detail}`;
		this.#out.write(`\r\x1b[2K${styleText('dim', text.slice(0, Math.max(20, this.#out.columns - 1)))}`);
	}

	#clear(): void {
		if (this.#live) this.#out.write('\r\x1b[2K');
	}
}

/** `1.2 GB`, `38 MB`. */
export function size(bytes: number): string {
	return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${Math.round(bytes / 1e6)} MB`;
}

/** `640 ms`, `3.2 s`. */
export function span(ms: number): string {
	return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
