// What the accept path and the delivery know about one ingress channel: the pool's declaration joined with the tenant's
// suspension and the sender's secret. Read through a short cache, so a busy channel costs no query per message.
import { type IngressChannel, type PoolId, PoolSpec, type TenantId } from '@mvm/protocol';
import type { Clock } from '../ports/clock.ts';
import { type Database, findChannelPools } from '../state/index.ts';
import { shortCache } from './short-cache.ts';
import type { SenderCheck } from './verify.ts';

/** The header that says the instance has the message durably. */
export interface DeliveryProof {
	readonly header: string;
	readonly equals: string;
}

export interface Channel {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly channel: string;
	readonly isSuspended: boolean;
	/** Port inside the instance. */
	readonly guestPort: number;
	/** Path inside the instance; what follows the channel in the URL is appended. */
	readonly path: string;
	readonly check: SenderCheck;
	/** RFC 6901; absent: equal bodies are one event. */
	readonly eventIdPointer?: string | undefined;
	/** RFC 6901; absent: the whole channel is one lane. */
	readonly orderByPointer?: string | undefined;
	/** Absent: any 2xx is the proof. */
	readonly proof?: DeliveryProof | undefined;
}

/** Reads a channel from the store; undefined when there is no such tenant or channel. */
export type LoadChannel = (tenantId: TenantId, channel: string) => Promise<Channel | undefined>;

export interface ChannelDeps {
	readonly database: Database;
	readonly clock: Clock;
	/** The value of a tenant's secret; undefined when it has none (then nobody can prove to be the sender). */
	readonly readSecret: (tenantId: TenantId, name: string) => Promise<string | undefined>;
}

export function channelsOf(deps: ChannelDeps): LoadChannel {
	const load = shortCache(
		deps.clock,
		(key: { tenantId: TenantId; channel: string }) => `${key.tenantId}/${key.channel}`,
		({ tenantId, channel }) => loadChannel(deps, tenantId, channel),
	);
	return (tenantId, channel) => load({ tenantId, channel });
}

function checkOf({ verify }: IngressChannel, secret: string): SenderCheck {
	const { header, hmac } = verify;
	return hmac === undefined ? { kind: 'header', header, secret } : { kind: 'signature', header, secret, ...hmac };
}

async function loadChannel(deps: ChannelDeps, tenantId: TenantId, name: string): Promise<Channel | undefined> {
	const pools = await deps.database.asTenant(tenantId, (tx) => findChannelPools(tx, { tenantId, channel: name }));
	for (const pool of pools) {
		const spec = PoolSpec.parse(pool.spec);
		const declared = spec.ingress.find((entry) => entry.channel === name);
		if (declared === undefined) continue;
		const secret = (await deps.readSecret(tenantId, declared.verify.secret)) ?? '';
		return {
			tenantId,
			poolId: pool.poolId,
			channel: name,
			isSuspended: pool.isSuspended,
			guestPort: declared.guestPort,
			path: declared.path,
			check: checkOf(declared, secret),
			eventIdPointer: declared.eventId,
			orderByPointer: declared.orderBy,
			proof: declared.proof,
		};
	}
	return undefined;
}
