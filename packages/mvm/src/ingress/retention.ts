// Keeps a tenant's retained bytes under its limit without a query per message. Used by the accept path. The estimate is
// what the store said last plus everything accepted since, so between reads it only errs on the side of the limit; near
// the limit it is read again at most once a second.
import { MvmError, type TenantId } from '@mvm/protocol';
import type { Clock } from '../ports/clock.ts';

interface Estimate {
	/** What the store said at `readAtMs`, plus everything reserved since. */
	bytes: number;
	/** Reserved and not yet committed or given back; counted on top of a fresh read. */
	underWay: number;
	readAtMs: number;
	reading: Promise<void> | undefined;
}

export interface RetentionDeps {
	readonly readBytes: (tenantId: TenantId) => Promise<number>;
	readonly clock: Clock;
	readonly limitBytes: number;
}

export interface Reservation {
	/** Call once with what became of it: stored, or known already or failed. */
	end(isStored: boolean): void;
}

const REREAD_AFTER_MS = 1_000;

export class Retention {
	readonly #deps: RetentionDeps;
	readonly #estimates = new Map<TenantId, Estimate>();

	constructor(deps: RetentionDeps) {
		this.#deps = deps;
	}

	/** Throws RETAIN_LIMIT, or what the read threw. */
	async reserve(tenantId: TenantId, bytes: number): Promise<Reservation> {
		let estimate = this.#estimates.get(tenantId);
		if (estimate === undefined) {
			estimate = { bytes: 0, underWay: 0, readAtMs: Number.NEGATIVE_INFINITY, reading: undefined };
			this.#estimates.set(tenantId, estimate);
		}
		const isFresh = this.#deps.clock.monotonic() - estimate.readAtMs < REREAD_AFTER_MS;
		const isRead = estimate.readAtMs !== Number.NEGATIVE_INFINITY;
		if (!isRead || (estimate.bytes + bytes > this.#deps.limitBytes && !isFresh)) await this.#read(tenantId, estimate);
		return this.#take(tenantId, estimate, bytes);
	}

	#take(tenantId: TenantId, estimate: Estimate, bytes: number): Reservation {
		const { limitBytes } = this.#deps;
		if (estimate.bytes + bytes > limitBytes) {
			throw new MvmError(
				'RETAIN_LIMIT',
				`tenant ${tenantId} keeps ${estimate.bytes} of ${limitBytes} bytes of undelivered messages`,
				{
					details: { tenant_id: tenantId, limit_bytes: limitBytes, used_bytes: estimate.bytes, body_bytes: bytes },
					hint: `see what waits: mvm ingress list ${tenantId}`,
				},
			);
		}
		estimate.bytes += bytes;
		estimate.underWay += bytes;
		return {
			end: (isStored) => {
				estimate.underWay -= bytes;
				if (!isStored) estimate.bytes -= bytes;
			},
		};
	}

	/** Callers that need a read at the same time share it. */
	#read(tenantId: TenantId, estimate: Estimate): Promise<void> {
		estimate.reading ??= this.#deps
			.readBytes(tenantId)
			.then((bytes) => {
				estimate.bytes = bytes + estimate.underWay;
				estimate.readAtMs = this.#deps.clock.monotonic();
			})
			.finally(() => {
				estimate.reading = undefined;
			});
		return estimate.reading;
	}
}
