// Audit records of acts that have no transaction of their own (a denied request, a wake): kept in order, written in
// batches, and never dropped. While the store is down the buffer fills; once full, whoever acts next waits.
// Constructed in main/; services call `add`.
import type { Logger } from 'pino';
import type { Clock } from '../../ports/clock.ts';
import type { Database } from '../database.ts';
import { type AuditEntry, appendAudit } from './append-audit.ts';

const MAX_BATCH = 64;
const MIN_DELAY_MS = 50;
const MAX_DELAY_MS = 2_000;

interface Waiting {
	readonly entry: AuditEntry;
	readonly written: () => void;
}

export class AuditBuffer implements AsyncDisposable {
	readonly #db: Database;
	readonly #clock: Clock;
	readonly #log: Logger;
	readonly #capacity: number;
	readonly #queue: Waiting[] = [];
	/** Callers that wait for room, oldest first. */
	readonly #blocked: (() => void)[] = [];
	readonly #closing = new AbortController();
	/** True while the writer looks at the queue; it turns false in the same step in which the queue was seen empty. */
	#isWriting = false;
	#writer: Promise<void> = Promise.resolve();

	constructor(options: { readonly db: Database; readonly clock: Clock; readonly log: Logger; readonly capacity?: number }) {
		this.#db = options.db;
		this.#clock = options.clock;
		this.#log = options.log;
		this.#capacity = options.capacity ?? 1_000;
	}

	/** Records that are not written yet. */
	get pending(): number {
		return this.#queue.length;
	}

	/**
	 * Resolves when the record has its place in the buffer (at once unless it is full); `written` of the result resolves
	 * when it is in the chain. Rejects with the signal's reason when it aborts while waiting for room: then do not act.
	 */
	async add(entry: AuditEntry, options: { readonly signal: AbortSignal }): Promise<{ readonly written: Promise<void> }> {
		while (this.#queue.length >= this.#capacity) await this.#room(options.signal);
		options.signal.throwIfAborted();
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#queue.push({ entry, written: resolve });
		if (!this.#isWriting) this.#writer = this.#write();
		return { written: promise };
	}

	/** Writes what is there and returns how many could not be written before the signal aborted; 0 means none was lost. */
	async close(options: { readonly signal: AbortSignal }): Promise<number> {
		const giveUp = (): void => this.#closing.abort();
		if (options.signal.aborted) giveUp();
		options.signal.addEventListener('abort', giveUp, { once: true });
		await this.#writer;
		options.signal.removeEventListener('abort', giveUp);
		if (this.#queue.length > 0) this.#log.error({ records: this.#queue.length }, 'audit records were not written');
		return this.#queue.length;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.close({ signal: new AbortController().signal });
	}

	/** Ends when the queue is empty or the buffer is closed by force. A failure keeps the batch and is tried again. */
	async #write(): Promise<void> {
		this.#isWriting = true;
		let delayMs = MIN_DELAY_MS;
		while (this.#queue.length > 0 && !this.#closing.signal.aborted) {
			const tenantId = this.#queue[0]?.entry.tenantId;
			const batch = this.#queue.filter((waiting) => waiting.entry.tenantId === tenantId).slice(0, MAX_BATCH);
			try {
				await this.#append(batch);
				delayMs = MIN_DELAY_MS;
			} catch (err) {
				this.#log.warn({ err, records: this.#queue.length, delay_ms: delayMs }, 'audit records wait for the store');
				await this.#clock.sleep(delayMs, { signal: this.#closing.signal }).catch(() => {}); // closed: the loop ends
				delayMs = Math.min(MAX_DELAY_MS, delayMs * 2);
				continue;
			}
			const done = new Set(batch);
			this.#queue.splice(0, this.#queue.length, ...this.#queue.filter((waiting) => !done.has(waiting)));
			for (const waiting of batch) waiting.written();
			for (const go of this.#blocked.splice(0, batch.length)) go();
		}
		this.#isWriting = false;
	}

	async #append(batch: readonly Waiting[]): Promise<void> {
		await this.#db.asSystem(
			async (tx) => {
				for (const { entry } of batch) await appendAudit(tx, entry);
			},
			{ signal: this.#closing.signal },
		);
	}

	#room(signal: AbortSignal): Promise<void> {
		return new Promise((resolve, reject) => {
			const go = (): void => {
				signal.removeEventListener('abort', stop);
				resolve();
			};
			const stop = (): void => {
				const at = this.#blocked.indexOf(go);
				if (at >= 0) this.#blocked.splice(at, 1);
				reject(signal.reason);
			};
			if (signal.aborted) {
				reject(signal.reason);
				return;
			}
			signal.addEventListener('abort', stop, { once: true });
			this.#blocked.push(go);
		});
	}
}
