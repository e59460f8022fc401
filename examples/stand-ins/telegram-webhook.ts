// Telegram's side of a webhook: a queue of updates per bot, sent one after the other to the registered address, repeated with
// back-off until the answer is 2xx. Part of the Telegram stand-in; it never looks at what the answer's body says.
import { setTimeout as delay } from 'node:timers/promises';
import { Recorded } from './http.ts';

/** One Telegram update; only messages are made here. */
export interface Update {
	readonly update_id: number;
	readonly message: {
		readonly message_id: number;
		readonly chat: { readonly id: number };
		readonly date: number;
		readonly text: string;
		readonly [key: string]: unknown;
	};
}
/** One POST to the webhook: status 0 when no answer came. */
export interface Attempt {
	readonly updateId: number;
	readonly status: number;
	readonly ms: number;
	readonly at: number;
	readonly error?: string;
}
interface Registration {
	readonly url: URL;
	readonly secret: string;
	readonly allowed: readonly string[];
}
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_BACKOFF_STEPS = 5;

/** The webhook of one bot. */
export class Webhook {
	registration: Registration | null = null;
	readonly attempts = new Recorded<Attempt>();
	readonly #pending: Update[] = [];
	readonly #route: (url: URL) => URL;
	readonly #retryMs: number;
	readonly #closed = new AbortController();
	#running: Promise<void> | null = null;
	#lastError: { at: number; message: string } | null = null;
	#arrived = Promise.withResolvers<void>();

	constructor(options: { route: (url: URL) => URL; retryMs: number }) {
		this.#route = options.route;
		this.#retryMs = options.retryMs;
	}

	set(input: Registration & { dropPending: boolean }): void {
		this.registration = { url: input.url, secret: input.secret, allowed: input.allowed };
		if (input.dropPending) this.#pending.length = 0;
		this.#deliver();
	}

	unset(dropPending: boolean): void {
		this.registration = null;
		if (dropPending) this.#pending.length = 0;
	}

	/** Queues an update; delivery starts at once when a webhook is registered. */
	push(update: Update): void {
		this.#pending.push(update);
		this.#arrived.resolve();
		this.#arrived = Promise.withResolvers();
		this.#deliver();
	}

	/** What getWebhookInfo shows. */
	info(): object {
		return {
			url: this.registration?.url.href ?? '',
			has_custom_certificate: false,
			pending_update_count: this.#pending.length,
			...(this.registration ? { max_connections: 40, allowed_updates: this.registration.allowed } : {}),
			...(this.#lastError
				? { last_error_date: Math.floor(this.#lastError.at / 1000), last_error_message: this.#lastError.message }
				: {}),
		};
	}

	/** Long polling: forgets updates before `offset`, waits up to `timeoutMs` for one. */
	async poll(input: { offset: number; timeoutMs: number; signal: AbortSignal }): Promise<Update[]> {
		const until = Date.now() + input.timeoutMs;
		for (;;) {
			while (this.#pending[0] !== undefined && this.#pending[0].update_id < input.offset) this.#pending.shift();
			const left = until - Date.now();
			if (this.#pending.length > 0 || left <= 0 || input.signal.aborted || this.#closed.signal.aborted) return [...this.#pending];
			const stop = new AbortController();
			const signal = AbortSignal.any([input.signal, this.#closed.signal, stop.signal]);
			await Promise.race([this.#arrived.promise, delay(left, undefined, { signal }).catch(() => undefined)]);
			stop.abort();
		}
	}

	async close(): Promise<void> {
		this.#closed.abort(new Error('the stand-in was closed'));
		await this.#running;
	}

	#deliver(): void {
		if (this.registration === null) return;
		this.#running ??= this.#run().finally(() => {
			this.#running = null;
		});
	}

	/** One at a time, the same one again until it is taken: that keeps the order, as Telegram does with one connection. */
	async #run(): Promise<void> {
		let failures = 0;
		while (!this.#closed.signal.aborted) {
			const [update] = this.#pending;
			const target = this.registration;
			if (update === undefined || target === null) return;
			const attempt = await this.#post(target, update);
			this.attempts.add(attempt);
			if (attempt.status >= 200 && attempt.status < 300) {
				failures = 0;
				const at = this.#pending.indexOf(update);
				if (at >= 0) this.#pending.splice(at, 1);
				continue;
			}
			this.#lastError = { at: attempt.at, message: attempt.error ?? `Wrong response from the webhook: ${attempt.status}` };
			const pause = this.#retryMs * 2 ** Math.min(failures++, MAX_BACKOFF_STEPS);
			await delay(pause, undefined, { signal: this.#closed.signal }).catch(() => undefined);
		}
	}

	async #post(target: Registration, update: Update): Promise<Attempt> {
		const at = Date.now();
		const done = (status: number, error?: string): Attempt => ({
			updateId: update.update_id,
			status,
			ms: Date.now() - at,
			at,
			...(error === undefined ? {} : { error }),
		});
		try {
			const response = await fetch(this.#route(target.url), {
				method: 'POST',
				headers: {
					'content-type': 'application/json',
					...(target.secret === '' ? {} : { 'x-telegram-bot-api-secret-token': target.secret }),
				},
				body: JSON.stringify(update),
				redirect: 'manual',
				signal: AbortSignal.any([this.#closed.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
			});
			await response.arrayBuffer();
			return done(response.status);
		} catch (error) {
			const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
			return done(0, cause);
		}
	}
}
