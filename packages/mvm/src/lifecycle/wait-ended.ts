// Waiting for someone else's operation without inheriting its failure.

/** Resolves when `ended` settles; rejects with the caller's own reason when its signal aborts first. */
export async function waitEnded(ended: Promise<void>, signal: AbortSignal): Promise<void> {
	signal.throwIfAborted();
	const { promise, reject } = Promise.withResolvers<never>();
	const onAbort = (): void => reject(signal.reason);
	signal.addEventListener('abort', onAbort, { once: true });
	try {
		await Promise.race([ended, promise]);
	} finally {
		signal.removeEventListener('abort', onAbort);
	}
}
