// Follows the event table for /v1/events: what is there after the cursor, then what comes, in order, without gaps. Woken
// by notifications, with a slow look as a net. Tenants see their own events only: the reader runs under row-level security.
import { EventView, type InstanceId, MvmError, type TenantId } from '@mvm/protocol';
import type { Clock } from '../ports/clock.ts';
import type { Principal } from './principal.ts';
import type { ServerEvent } from './sse.ts';

export interface EventFilter {
	/** Undefined: all tenants; only ever so for an operator. */
	readonly tenantId: TenantId | undefined;
	readonly instanceId?: InstanceId | undefined;
	/** The last event that was seen; undefined: only what comes from now on. */
	readonly after: string | undefined;
}

export interface FollowEvents {
	/** Events after the cursor, oldest first, at most `limit`; `tenantId` undefined reads all tenants (operators only). */
	readonly read: (input: {
		readonly tenantId: TenantId | undefined;
		readonly instanceId: InstanceId | undefined;
		readonly after: number;
		readonly limit: number;
	}) => Promise<readonly EventView[]>;
	/** The newest event's id; 0 when there is none. */
	readonly newestId: () => Promise<number>;
	/** Calls `wake` whenever an event may have been added; the returned function ends that. */
	readonly listen: (wake: () => void) => Promise<() => Promise<void>>;
}

const PAGE = 200;
const LOOK_MS = 2_000;
/** Ids are given out before commits, so a smaller one may become visible after a larger one: so far back is looked again. */
const OVERLAP_MS = 5_000;

export async function* followEvents(
	deps: { readonly follow: FollowEvents; readonly clock: Clock },
	input: { readonly filter: EventFilter; readonly signal: AbortSignal },
): AsyncGenerator<ServerEvent> {
	const { follow, clock } = deps;
	const { signal, filter } = input;
	const cursor = new Cursor(filter.after === undefined ? await follow.newestId() : Number(filter.after));
	let wake = Promise.withResolvers<void>();
	const unlisten = await follow.listen(() => wake.resolve());
	const onAbort = (): void => wake.resolve();
	signal.addEventListener('abort', onAbort, { once: true });
	try {
		while (!signal.aborted) {
			wake = Promise.withResolvers<void>();
			const { tenantId, instanceId } = filter;
			const events = await follow.read({ tenantId, instanceId, after: cursor.floor, limit: cursor.overlap + PAGE });
			const isFull = events.length === cursor.overlap + PAGE;
			for (const event of events) {
				if (!cursor.isNew(event.id, Date.parse(event.at))) continue;
				yield { id: String(event.id), event: event.kind, data: EventView.encode(event) };
			}
			cursor.settle(clock.now() - OVERLAP_MS);
			if (isFull) continue;
			const cancel = clock.after(LOOK_MS, () => wake.resolve());
			await wake.promise;
			cancel();
		}
	} finally {
		signal.removeEventListener('abort', onAbort);
		await unlisten();
	}
}

/** What was passed on: everything up to `floor`, and by number what came after it. */
class Cursor {
	#floor: number;
	readonly #seen = new Map<number, number>();

	constructor(floor: number) {
		this.#floor = floor;
	}

	get floor(): number {
		return this.#floor;
	}

	/** How many of the events after the floor are known already. */
	get overlap(): number {
		return this.#seen.size;
	}

	isNew(id: number, atMs: number): boolean {
		if (this.#seen.has(id)) return false;
		this.#seen.set(id, atMs);
		return true;
	}

	/** Moves the floor over what happened before `untilMs`: nothing smaller can appear any more. */
	settle(untilMs: number): void {
		for (const [id, atMs] of [...this.#seen].sort(([a], [b]) => a - b)) {
			if (atMs > untilMs) return;
			this.#floor = id;
			this.#seen.delete(id);
		}
	}
}

/** A tenant's principal is bound to its tenant; the operator sees all unless it asks for one. */
export function visibleTenant(principal: Principal, asked: TenantId | undefined): TenantId | undefined {
	if (principal.role === 'operator') return asked;
	if (asked !== undefined && asked !== principal.tenantId) throw new MvmError('FORBIDDEN', 'the key belongs to another tenant');
	return principal.tenantId;
}
