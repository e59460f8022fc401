// The clock port: the only source of time and timers. Real in drivers/clock/system, fake and hand-driven in tests.
export interface Clock {
	/** Epoch milliseconds. */
	now(): number;
	/** Monotonic milliseconds, for durations. */
	monotonic(): number;
	/** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
	sleep(ms: number, options: { signal: AbortSignal }): Promise<void>;
	/** Calls `run` once after `ms`; the returned function cancels. Does not keep the process alive. */
	after(ms: number, run: () => void): () => void;
}
