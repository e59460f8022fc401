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

export async function* followEvents(
	deps: { readonly follow: FollowEvents; readonly clock: Clock },
	input: { readonly filter: EventFilter; readonly signal: AbortSignal },
): AsyncGenerator<ServerEvent> {
	const { follow, clock } = deps;
	const { signal, filter } = input;
	let after = filter.after === undefined ? await follow.newestId() : Number(filter.after);
	let wake = Promise.withResolvers<void>();
	const unlisten = await follow.listen(() => wake.resolve());
	const onAbort = (): void => wake.resolve();
	signal.addEventListener('abort', onAbort, { once: true });
	try {
		while (!signal.aborted) {
			wake = Promise.withResolvers<void>();
			const events = await follow.read({ tenantId: filter.tenantId, instanceId: filter.instanceId, after, limit: PAGE });
			for (const event of events) {
				after = event.id;
				yield { id: String(event.id), event: event.kind, data: EventView.encode(event) };
			}
			if (events.length === PAGE) continue;
			const cancel = clock.after(LOOK_MS, () => wake.resolve());
			await wake.promise;
			cancel();
		}
	} finally {
		signal.removeEventListener('abort', onAbort);
		await unlisten();
	}
}

/** A tenant's principal is bound to its tenant; the operator sees all unless it asks for one. */
export function visibleTenant(principal: Principal, asked: TenantId | undefined): TenantId | undefined {
	if (principal.role === 'operator') return asked;
	if (asked !== undefined && asked !== principal.tenantId) throw new MvmError('FORBIDDEN', 'the key belongs to another tenant');
	return principal.tenantId;
}
