// Adds one event that people and `mvm events --follow` see. For rare changes: it notifies (see notify.ts).
import type { InstanceId, PoolId, TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { notify } from '../notify.ts';
import { json } from '../tables.ts';

/** Every committed event notifies this channel with its tenant's id. */
export const EVENT_CHANNEL = 'mvm_event';

export interface NewEvent {
	readonly tenantId: TenantId;
	readonly poolId?: PoolId | undefined;
	readonly instanceId?: InstanceId | undefined;
	/** What happened, as `noun.verb`: `instance.woke`. */
	readonly kind: string;
	/** Wire form, never a secret. */
	readonly detail?: Readonly<Record<string, unknown>> | undefined;
	readonly traceId?: string | undefined;
}

/** Returns the event's id; ids grow, but a smaller one may become visible later than a larger one. */
export async function appendEvent(tx: Tx, event: NewEvent): Promise<number> {
	const { id } = await tx
		.insertInto('event')
		.values({
			tenantId: event.tenantId,
			poolId: event.poolId ?? null,
			instanceId: event.instanceId ?? null,
			kind: event.kind,
			detail: json(event.detail ?? {}),
			traceId: event.traceId ?? null,
		})
		.returning('id')
		.executeTakeFirstOrThrow();
	await notify(tx, EVENT_CHANNEL, event.tenantId);
	return id;
}
