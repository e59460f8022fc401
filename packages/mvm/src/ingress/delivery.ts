// The delivery loop: brings every pending message to an instance, lane by lane in order, lanes side by side within
// bounds. Woken by the accept path, by notifications and by the next due time; one slow sweep makes up for anything
// missed. Everything it knows stands in the rows, so a crash costs at most a second delivery of what was in flight.
//
//   pending --claim--> (in delivery) --proof--> taken --checkpoint--> settled
//      ^                    |                     |                      |
//      +---- retry, park ---+---> dead            +------ rollback ------+--> pending
import type { TenantId } from '@mvm/protocol';
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.ts';
import {
	type ClaimedMessage,
	claimLane,
	type Database,
	dueLanes,
	INGRESS_NOTIFY_CHANNEL,
	type Lane,
	makeUpMissed,
	releaseClaims,
	releaseLane,
} from '../state/index.ts';
import { type Attempt, type DeliverOneDeps, deliverOne } from './deliver-one.ts';
import { type FinishDeps, finishAttempt } from './finish-attempt.ts';

export interface DeliveryDeps extends DeliverOneDeps, FinishDeps {
	readonly database: Database;
	readonly clock: Clock;
	readonly log: Logger;
	/** Names this deliverer in the rows it claims; unique per process life. */
	readonly claim: string;
	/** Lanes in delivery at once: in all, and of one tenant. Defaults 64 and 16. */
	readonly maxInFlight?: number;
	readonly maxPerTenant?: number;
}

const SWEEP_MS = 30_000;
const STORE_RETRY_MS = 1_000;
/** Messages of one lane before its place is given to another. */
const LANE_TURN = 32;
/** A look finds so many times the lanes of a tenant that run at once, so that a long backlog needs few looks. */
const LOOK_AHEAD = 8;
/** What a claim outlives the two deadlines by, for the rows to be written. */
const CLAIM_MARGIN_MS = 30_000;

export class Delivery {
	readonly #deps: DeliveryDeps;
	readonly #stop = new AbortController();
	readonly #busy = new Map<string, Promise<void>>();
	readonly #perTenant = new Map<TenantId, number>();
	readonly #parkedUntil = new Map<TenantId, number>();
	/** Due lanes of the last look that found no place yet; a claim finds out which of them still are. */
	#ready: Lane[] = [];
	#isDirty = false;
	#isStarted = false;
	#isStopping = false;
	#scanning: Promise<void> | undefined;
	#cancelTimer: (() => void) | undefined;
	#cancelSweep: (() => void) | undefined;
	#unlisten: (() => Promise<void>) | undefined;

	constructor(deps: DeliveryDeps) {
		this.#deps = deps;
	}

	/** `recover`: no other deliverer runs on this database, so open claims are of the dead and are given back. */
	async start(options: { readonly recover: boolean }): Promise<void> {
		const { database, log } = this.#deps;
		if (options.recover) {
			const again = await database.asSystem((tx) => releaseClaims(tx, { but: this.#deps.claim }), { idempotent: true });
			for (const id of again) log.info({ message_id: id }, 'delivery was interrupted, message will be delivered again');
		}
		this.#isStarted = true;
		this.#unlisten = await database.listen(INGRESS_NOTIFY_CHANNEL, () => this.poke());
		this.#sweep();
	}

	/** Looks for due lanes now. Cheap to call often. */
	poke(): void {
		if (!this.#isStarted || this.#isStopping) return;
		this.#isDirty = true;
		this.#scanning ??= this.#scan().finally(() => {
			this.#scanning = undefined;
			if (this.#isDirty) this.poke();
		});
	}

	/** True while messages of the tenant wait for a quota. */
	isParked(tenantId: TenantId): boolean {
		return (this.#parkedUntil.get(tenantId) ?? 0) > this.#deps.clock.now();
	}

	/** Stops claiming, lets deliveries in flight end until the signal aborts, then gives the rest back unfinished. */
	async stop(options: { readonly signal: AbortSignal }): Promise<void> {
		const idle = Promise.allSettled([...this.#busy.values()]);
		this.#isStopping = true;
		this.#cancelTimer?.();
		this.#cancelSweep?.();
		await this.#unlisten?.();
		const cut = (): void => this.#stop.abort(new Error('the platform is stopping'));
		if (options.signal.aborted) cut();
		else options.signal.addEventListener('abort', cut, { once: true });
		await this.#scanning;
		await idle;
		await Promise.allSettled([...this.#busy.values()]);
		options.signal.removeEventListener('abort', cut);
		cut();
	}

	async #scan(): Promise<void> {
		while (this.#isDirty && !this.#isStopping) {
			this.#isDirty = false;
			const free = (this.#deps.maxInFlight ?? 64) - this.#busy.size;
			if (free <= 0) return; // a lane that ends pokes
			let nextDueInMs: number | undefined;
			try {
				const perTenant = (this.#deps.maxPerTenant ?? 16) * LOOK_AHEAD;
				const due = await this.#deps.database.asSystem((tx) => dueLanes(tx, { limit: 1_000, perTenant }));
				this.#ready = due.lanes.filter((lane) => !this.#begin(lane));
				nextDueInMs = due.nextDueInMs;
			} catch (err) {
				this.#deps.log.warn({ err }, 'due messages could not be read');
				nextDueInMs = STORE_RETRY_MS;
			}
			this.#cancelTimer?.();
			this.#cancelTimer = nextDueInMs === undefined ? undefined : this.#deps.clock.after(nextDueInMs + 1, () => this.poke());
		}
	}

	/** False when the lane has to wait for a place. */
	#begin(lane: Lane): boolean {
		const key = JSON.stringify([lane.tenantId, lane.poolId, lane.channel, lane.orderKey]);
		const running = this.#perTenant.get(lane.tenantId) ?? 0;
		if (this.#busy.has(key)) return true;
		if (this.#busy.size >= (this.#deps.maxInFlight ?? 64) || running >= (this.#deps.maxPerTenant ?? 16)) return false;
		this.#perTenant.set(lane.tenantId, running + 1);
		const done = this.#runLane(lane).finally(() => {
			this.#busy.delete(key);
			const left = (this.#perTenant.get(lane.tenantId) ?? 1) - 1;
			if (left === 0) this.#perTenant.delete(lane.tenantId);
			else this.#perTenant.set(lane.tenantId, left);
			if (!this.#isStopping) this.#ready = this.#ready.filter((next) => !this.#begin(next));
			if (this.#ready.length === 0) this.poke();
		});
		this.#busy.set(key, done);
		return true;
	}

	/** In order, until the lane is empty, its head has to wait, or its turn is over. */
	async #runLane(lane: Lane): Promise<void> {
		const { log } = this.#deps;
		try {
			for (let turn = 0; turn < LANE_TURN && !this.#isStopping; turn += 1) {
				const leaseMs = this.#deps.holdDeadlineMs + this.#deps.answerDeadlineMs + CLAIM_MARGIN_MS;
				const message = await this.#deps.database.asSystem((tx) => claimLane(tx, { lane, claim: this.#deps.claim, leaseMs }));
				if (message === undefined) return;
				const attempt = await deliverOne(this.#deps, message, { signal: this.#stop.signal });
				this.#remember(message, attempt);
				if (await finishAttempt(this.#deps, message, attempt)) continue;
				const { verdict } = attempt;
				if ('delayMs' in verdict && !this.#isStopping) this.#deps.clock.after(verdict.delayMs + 1, () => this.poke());
				return;
			}
			this.#ready.push(lane);
		} catch (err) {
			log.warn({ err, tenant_id: lane.tenantId, pool_id: lane.poolId }, 'a lane broke off, its message is given back');
			await this.#giveBack(lane);
		}
	}

	/** The store went away in the middle: until it is back the lane keeps its place, then its message is free again. */
	async #giveBack(lane: Lane): Promise<void> {
		const { database, claim, clock, log } = this.#deps;
		while (!this.#isStopping) {
			try {
				await database.asSystem((tx) => releaseLane(tx, { lane, claim }), { idempotent: true });
				return;
			} catch (err) {
				log.debug({ err, tenant_id: lane.tenantId }, 'message not given back yet');
				await clock.sleep(STORE_RETRY_MS, { signal: this.#stop.signal }).catch(() => undefined);
			}
		}
	}

	#remember(message: ClaimedMessage, attempt: Attempt): void {
		const { verdict } = attempt;
		if (verdict.kind === 'park' && verdict.overQuota) {
			this.#parkedUntil.set(message.tenantId, this.#deps.clock.now() + verdict.delayMs * 2);
		} else if (verdict.kind === 'taken') {
			this.#parkedUntil.delete(message.tenantId);
		}
	}

	/** Slow and rare: everything above is driven by events, this one only repairs. */
	#sweep(): void {
		const { database, log, clock } = this.#deps;
		database
			.asSystem(makeUpMissed, { idempotent: true })
			.then((done) => {
				if (done.settled + done.returned > 0)
					log.info({ settled: done.settled, returned: done.returned }, 'missed settlements made up for');
			})
			.catch((err) => log.warn({ err }, 'ingress sweep failed'))
			.finally(() => {
				if (this.#isStopping) return;
				this.#cancelSweep = clock.after(SWEEP_MS, () => this.#sweep());
				this.poke();
			});
	}
}
