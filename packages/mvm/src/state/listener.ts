// LISTEN on one connection of its own that comes back by itself. After every reconnect each subscriber is called once
// without a payload, because notifications sent meanwhile are lost. Used by database.ts only.
import pg from 'pg';
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.ts';

/** `payload` is undefined when something may have been missed: look at the tables. */
export type NotificationHandler = (payload: string | undefined) => void;

const MIN_DELAY_MS = 20;
const MAX_DELAY_MS = 1_000;

export class Listener {
	readonly #config: pg.ClientConfig;
	readonly #clock: Clock;
	readonly #log: Logger;
	readonly #handlers = new Map<string, Set<NotificationHandler>>();
	readonly #stop = new AbortController();
	/** The live connection; undefined before the first subscriber and while reconnecting. */
	#client: pg.Client | undefined;
	/** The loop that keeps a connection; undefined before the first subscriber. */
	#loop: Promise<void> | undefined;

	constructor(options: { readonly config: pg.ClientConfig; readonly clock: Clock; readonly log: Logger }) {
		this.#config = options.config;
		this.#clock = options.clock;
		this.#log = options.log;
	}

	/** Resolves once the channel is listened to, or at once while the server is away (the reconnect will wake `handler`). */
	async add(channel: string, handler: NotificationHandler): Promise<() => Promise<void>> {
		if (!/^[a-z][a-z0-9_]{0,40}$/.test(channel)) throw new TypeError(`not a channel name: ${channel}`);
		const known = this.#handlers.get(channel);
		if (known === undefined) this.#handlers.set(channel, new Set([handler]));
		else known.add(handler);
		if (this.#loop === undefined) {
			const first = Promise.withResolvers<void>();
			this.#loop = this.#keep(first.resolve);
			await first.promise;
		} else if (known === undefined) {
			await this.#client?.query(`listen ${channel}`).catch(() => {}); // a lost connection listens to all again
		}
		return async () => {
			const handlers = this.#handlers.get(channel);
			handlers?.delete(handler);
			if (handlers?.size !== 0) return;
			this.#handlers.delete(channel);
			await this.#client?.query(`unlisten ${channel}`).catch(() => {});
		};
	}

	async close(): Promise<void> {
		this.#stop.abort();
		await this.#client?.end().catch(() => {});
		await this.#loop;
	}

	/** Connects, listens, waits for the end of the connection, and again until closed. Back-off is bounded by MAX_DELAY_MS. */
	async #keep(firstTried: () => void): Promise<void> {
		let delayMs = MIN_DELAY_MS;
		let connectedBefore = false;
		while (!this.#stop.signal.aborted) {
			const client = new pg.Client(this.#config);
			const ended = new Promise<void>((resolve) => client.once('end', resolve));
			client.on('error', (err) => this.#log.debug({ err }, 'listen connection lost'));
			client.on('notification', ({ channel, payload }) => this.#dispatch(channel, payload ?? ''));
			try {
				await client.connect();
				for (const channel of this.#handlers.keys()) await client.query(`listen ${channel}`);
				this.#client = client;
				delayMs = MIN_DELAY_MS;
				// A subscriber may have come between the loop above and the assignment; listening twice is harmless.
				for (const channel of this.#handlers.keys()) await client.query(`listen ${channel}`);
				firstTried();
				if (connectedBefore) this.#wakeAll();
				connectedBefore = true;
				await ended;
			} catch (err) {
				this.#log.debug({ err }, 'listen connection failed');
				connectedBefore = true; // whoever subscribed meanwhile has missed what was sent
				await client.end().catch(() => {});
			}
			this.#client = undefined;
			firstTried();
			if (this.#stop.signal.aborted) return;
			await this.#clock.sleep(delayMs, { signal: this.#stop.signal }).catch(() => {}); // aborted: the loop ends
			delayMs = Math.min(MAX_DELAY_MS, delayMs * 2);
		}
	}

	#wakeAll(): void {
		for (const channel of this.#handlers.keys()) this.#dispatch(channel, undefined);
	}

	#dispatch(channel: string, payload: string | undefined): void {
		for (const handler of [...(this.#handlers.get(channel) ?? [])]) {
			try {
				handler(payload);
			} catch (err) {
				this.#log.error({ err, channel }, 'notification handler failed');
			}
		}
	}
}
