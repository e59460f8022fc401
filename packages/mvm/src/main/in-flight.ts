// Which traces are being answered by an instance right now. An endpoint passes the trace on to its upstream when it is the only
// one, so that one trace id leads from the inbound message to the model request; with several it would be a guess.
import { randomBytes } from 'node:crypto';
import type { InstanceId } from '@mvm/protocol';
import type { AcquireInput, Acquirer, AwakeLease } from '../orchestrator/index.ts';

/** A trace stays this long after its request ended: agents answer webhooks first and work afterwards. */
const LINGER_MS = 120_000;

export class InFlight {
	readonly #traces = new Map<InstanceId, Map<string, number>>();
	readonly #now: () => number;

	constructor(now: () => number) {
		this.#now = now;
	}

	/** The same orchestrator, with every lease noted. */
	watch(orchestrator: Acquirer): Acquirer {
		return {
			acquire: async (input: AcquireInput, options: { readonly signal: AbortSignal }): Promise<AwakeLease> => {
				const lease = await orchestrator.acquire(input, options);
				const traces = this.#traces.get(lease.instanceId) ?? new Map<string, number>();
				this.#traces.set(lease.instanceId, traces);
				traces.set(input.traceId, Number.POSITIVE_INFINITY);
				return {
					...lease,
					[Symbol.asyncDispose]: async () => {
						traces.set(input.traceId, this.#now() + LINGER_MS);
						await lease[Symbol.asyncDispose]();
					},
				};
			},
		};
	}

	/** Undefined unless exactly one trace is in flight, or only the newest of the ended ones can be meant. */
	traceparentOf(instance: InstanceId): string | undefined {
		const traces = this.#traces.get(instance);
		if (traces === undefined) return undefined;
		for (const [traceId, until] of traces) if (until < this.#now()) traces.delete(traceId);
		const running = [...traces].filter(([, until]) => until === Number.POSITIVE_INFINITY);
		const [only] = running.length > 0 ? running : [...traces].slice(-1);
		if (only === undefined || running.length > 1) return undefined;
		return `00-${only[0]}-${randomBytes(8).toString('hex')}-01`;
	}
}
