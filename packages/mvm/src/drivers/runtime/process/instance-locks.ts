// One lock per instance, first come first served. hostd does one thing at a time to an instance, whoever asks.
import type { InstanceId } from '@mvm/protocol';

export class InstanceLocks {
	readonly #tails = new Map<InstanceId, Promise<void>>();

	/** Waits for its turn; disposing passes it on. Rejects with the signal's reason when that aborts while waiting. */
	async hold(id: InstanceId, options: { signal: AbortSignal }): Promise<Disposable> {
		const before = this.#tails.get(id) ?? Promise.resolve();
		const { promise, resolve } = Promise.withResolvers<void>();
		const tail = before.then(() => promise);
		this.#tails.set(id, tail);
		const release = (): void => {
			resolve();
			if (this.#tails.get(id) === tail) this.#tails.delete(id);
		};
		try {
			await abortable(before, options.signal);
		} catch (error) {
			release();
			throw error;
		}
		return { [Symbol.dispose]: release };
	}
}

async function abortable(wait: Promise<void>, signal: AbortSignal): Promise<void> {
	signal.throwIfAborted();
	const { promise, reject } = Promise.withResolvers<never>();
	const onAbort = (): void => reject(signal.reason);
	signal.addEventListener('abort', onAbort, { once: true });
	try {
		await Promise.race([wait, promise]);
	} finally {
		signal.removeEventListener('abort', onAbort);
	}
}
