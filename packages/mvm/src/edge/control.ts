// Puts the control API together over the store: all handlers, the memory of Idempotency-Keys, and the event stream.
// Called by main/daemon.ts.
import type { InstanceId, TenantId } from '@mvm/protocol';
import {
	beginIdempotent,
	type Database,
	dropIdempotent,
	EVENT_CHANNEL,
	finishIdempotent,
	listEvents,
	newestEventId,
	type Tx,
} from '../state/index.ts';
import type { Handlers, Idempotency } from './api-types.ts';
import type { ControlDeps } from './control-deps.ts';
import type { FollowEvents } from './follow-events.ts';
import { deployHandlers } from './handlers/deploy.ts';
import { hostHandlers } from './handlers/host.ts';
import { instanceHandlers } from './handlers/instances.ts';
import { poolHandlers } from './handlers/pools.ts';
import { recordHandlers } from './handlers/records.ts';
import { tenantHandlers } from './handlers/tenants.ts';
import { toEventView } from './views.ts';

/** Every route of the protocol has its handler here; a missing one does not compile. */
export function makeHandlers(deps: ControlDeps): Handlers {
	return {
		...tenantHandlers(deps),
		...poolHandlers(deps),
		...instanceHandlers(deps),
		...recordHandlers(deps),
		...hostHandlers(deps),
		...deployHandlers(deps),
	};
}

export function storedIdempotency(db: Database): Idempotency {
	const run = <T>(owner: string, unit: (tx: Tx) => Promise<T>): Promise<T> =>
		owner === '' ? db.asSystem(unit) : db.asTenant(owner as TenantId, unit);
	return {
		begin: ({ owner, key, requestHash }) =>
			run(owner, async (tx) => {
				const begun = await beginIdempotent(tx, { tenantId: owner as TenantId | '', key, requestHash });
				if (begun.state === 'done') return { kind: 'replay', status: begun.status, response: begun.response };
				return { kind: begun.state };
			}),
		finish: ({ owner, key, status, response }) =>
			run(owner, (tx) => finishIdempotent(tx, { tenantId: owner as TenantId | '', key, status, response })),
		forget: ({ owner, key }) => run(owner, (tx) => dropIdempotent(tx, { tenantId: owner as TenantId | '', key })),
	};
}

export function storedEvents(db: Database): FollowEvents {
	const read = (tenantId: TenantId | undefined, instanceId: InstanceId | undefined, afterId: number, limit: number) => {
		const unit = (tx: Tx) => listEvents(tx, { tenantId, instanceId, afterId, limit });
		return tenantId === undefined ? db.asSystem(unit) : db.asTenant(tenantId, unit);
	};
	return {
		read: async ({ tenantId, instanceId, after, limit }) => (await read(tenantId, instanceId, after, limit)).map(toEventView),
		newestId: () => db.asSystem(newestEventId),
		listen: (wake) => db.listen(EVENT_CHANNEL, () => wake()),
	};
}
