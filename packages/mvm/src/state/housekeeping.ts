// Clears away what nobody needs any more: checkpoints and blobs, old events, old idempotency keys. Constructed and started
// in main/; a round that fails is told and the next one does its work.
import type { TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.ts';
import type { CheckpointStore } from './checkpoint/checkpoint-store.ts';
import type { Database } from './database.ts';
import { deleteEventsBefore } from './event/list-events.ts';
import { deleteIdempotentBefore } from './idempotency/begin-idempotent.ts';
import { deleteTombstones } from './ingress/delete-tombstones.ts';

export interface Retention {
	readonly eventsMs: number;
	/** How long a settled message's id is remembered: a repeat of the event after that is a new message. */
	readonly messagesMs: number;
	/** How long a repeated request still gets the first one's answer. */
	readonly answeredMs: number;
	/** After this a request that a crash left without an answer may be made again. */
	readonly unansweredMs: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const DEFAULT_RETENTION: Retention = {
	eventsMs: 30 * DAY_MS,
	messagesMs: 30 * DAY_MS,
	answeredMs: DAY_MS,
	unansweredMs: DAY_MS / 24,
};
const FIRST_ROUND_MS = 60_000;
const ROUND_MS = 30 * 60_000;
/** Rows of old messages that go in one unit. */
const BITE = 5_000;
/** Blobs that became garbage are removed once they are old enough (ten minutes), so a tenant is looked at for longer. */
const SETTLED_MS = 2 * ROUND_MS;

export interface HousekeepingReport {
	readonly tenants: number;
	readonly blobs: number;
	readonly blobBytes: number;
	readonly events: number;
	readonly messages: number;
	readonly idempotencyKeys: number;
	readonly failures: number;
}

export class Housekeeper implements AsyncDisposable {
	readonly #db: Database;
	readonly #checkpoints: Pick<CheckpointStore, 'gc'>;
	readonly #clock: Clock;
	readonly #log: Logger;
	readonly #retention: Retention;
	readonly #stop = new AbortController();
	/** What a tenant's checkpoints look like, and since when; long unchanged ones have been cleared and are not read again. */
	readonly #seen = new Map<TenantId, { readonly state: string; readonly sinceMs: number }>();
	#loop: Promise<void> = Promise.resolve();

	constructor(deps: {
		readonly db: Database;
		readonly checkpoints: Pick<CheckpointStore, 'gc'>;
		readonly clock: Clock;
		readonly log: Logger;
		readonly retention?: Retention;
	}) {
		this.#db = deps.db;
		this.#checkpoints = deps.checkpoints;
		this.#clock = deps.clock;
		this.#log = deps.log;
		this.#retention = deps.retention ?? DEFAULT_RETENTION;
	}

	/** A round a minute after the start and then every half hour, until closed. */
	start(): void {
		this.#loop = this.#rounds();
	}

	async close(): Promise<void> {
		this.#stop.abort(new Error('housekeeping was stopped'));
		await this.#loop;
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.close();
	}

	/** One round over all tenants; a failure of one does not keep the others. */
	async runOnce(options: { readonly signal: AbortSignal }): Promise<HousekeepingReport> {
		const { signal } = options;
		const nowMs = this.#clock.now();
		const { eventsMs, messagesMs, answeredMs, unansweredMs } = this.#retention;
		let [tenants, blobs, blobBytes, failures] = [0, 0, 0, 0];
		for (const { tenantId, state } of await this.#tenants(signal)) {
			signal.throwIfAborted();
			const seen = this.#seen.get(tenantId);
			if (seen?.state !== state) this.#seen.set(tenantId, { state, sinceMs: nowMs });
			else if (nowMs - seen.sinceMs > SETTLED_MS) continue;
			try {
				const removed = await this.#checkpoints.gc(tenantId, { signal });
				blobs += removed.length;
				blobBytes += removed.reduce((sum, ref) => sum + ref.bytes, 0);
				tenants += 1;
			} catch (err) {
				failures += 1;
				this.#log.warn({ err, tenant_id: tenantId }, 'checkpoints were not cleared');
			}
		}
		const events = await this.#db.asSystem((tx) => deleteEventsBefore(tx, new Date(nowMs - eventsMs)), {
			idempotent: true,
			signal,
		});
		const messages = await this.#clearMessages(new Date(nowMs - messagesMs), signal);
		const before = { answeredBefore: new Date(nowMs - answeredMs), unansweredBefore: new Date(nowMs - unansweredMs) };
		const idempotencyKeys = await this.#db.asSystem((tx) => deleteIdempotentBefore(tx, before), { idempotent: true, signal });
		return { tenants, blobs, blobBytes, events, messages, idempotencyKeys, failures };
	}

	/** In bites, so that no other unit waits long; bounded by what was there at the start. */
	async #clearMessages(before: Date, signal: AbortSignal): Promise<number> {
		for (let messages = 0; ; ) {
			const unit = { before, limit: BITE };
			const gone = await this.#db.asSystem((tx) => deleteTombstones(tx, unit), { idempotent: true, signal });
			messages += gone;
			if (gone < BITE) return messages;
		}
	}

	async #rounds(): Promise<void> {
		const { signal } = this.#stop;
		for (let waitMs = FIRST_ROUND_MS; !signal.aborted; waitMs = ROUND_MS) {
			await this.#clock.sleep(waitMs, { signal }).catch(() => {}); // aborted: the loop ends
			if (signal.aborted) return;
			try {
				const report = await this.runOnce({ signal });
				this.#log.debug({ ...report }, 'housekeeping done');
			} catch (err) {
				if (!signal.aborted) this.#log.warn({ err }, 'housekeeping failed');
			}
		}
	}

	/** Every tenant with a text that changes whenever its checkpoints or the ends of its instances do. */
	async #tenants(signal: AbortSignal): Promise<readonly { readonly tenantId: TenantId; readonly state: string }[]> {
		const { rows } = await this.#db.asSystem(
			(tx) =>
				sql<{ tenantId: TenantId; state: string }>`
					select t.id as tenant_id, concat(
						(select concat(count(*), '/', max(c.created_at)) from checkpoint c where c.tenant_id = t.id), ' ',
						(select count(*) from instance i where i.tenant_id = t.id and i.state = 'destroyed')) as state
					from tenant t order by t.id`.execute(tx),
			{ signal },
		);
		return rows;
	}
}
