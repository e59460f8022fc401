// Where `/t/<tenant>/<pool>/…` leads: parses the address, checks the principal, prepares the request that enters the
// instance. Called by gateway.ts for requests and upgrades alike. Nothing a client says about tenant, trace or
// credentials gets through.
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type InstanceId, MvmError, type PoolId, PoolIdSchema, type TenantId, TenantIdSchema } from '@mvm/protocol';
import { endToEndHeaders } from '../ingress/index.ts';
import { administers, isOfTenant, type Principal } from './principal.ts';

/** What the gateway has to know about a pool; main/ reads it from the pool and its image. */
export interface GatewayTarget {
	/** The workload's HTTP port; undefined when the image declares none. */
	readonly port: number | undefined;
	readonly adapter: 'openclaw' | 'none';
}

export interface GatewayAddress {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	/** Starts with `/`; query included. */
	readonly path: string;
}

const ADDRESS = /^\/t\/([^/?#]+)\/([^/?#]+)(\/[^#]*|\?[^#]*)?$/;

/** Throws NOT_FOUND for anything that is not an address of a pool. */
export function parseGatewayAddress(url: string): GatewayAddress {
	const [, tenant, pool, rest = '/'] = ADDRESS.exec(url) ?? [];
	const tenantId = TenantIdSchema.safeParse(tenant);
	const poolId = PoolIdSchema.safeParse(pool);
	if (!tenantId.success || !poolId.success) {
		throw new MvmError('NOT_FOUND', 'this is not the address of a pool', { hint: 'write /t/<tenant>/<pool>/<path>' });
	}
	return { tenantId: tenantId.data, poolId: poolId.data, path: rest.startsWith('?') ? `/${rest}` : rest };
}

/** Throws FORBIDDEN. Asked before anything is looked up, so that a stranger does not learn which pools there are. */
export function requireOwnTenant(principal: Principal, address: GatewayAddress): void {
	if (!isOfTenant(principal, address.tenantId)) throw new MvmError('FORBIDDEN', 'the key belongs to another tenant');
}

/** Throws FORBIDDEN. An OpenClaw gateway's token is full power over it, so only those who administer the tenant pass. */
export function requireAccess(principal: Principal, address: GatewayAddress, target: GatewayTarget): void {
	if (target.adapter === 'openclaw' && !administers(principal, address.tenantId)) {
		throw new MvmError('FORBIDDEN', 'only an administrator of the tenant may talk to its OpenClaw gateway');
	}
}

/** The headers that enter the instance. The caller's credential and cookies stay outside. */
export function entryHeaders(input: {
	readonly request: IncomingMessage;
	readonly address: GatewayAddress;
	readonly port: number;
	readonly traceId: string;
	readonly token: string | undefined;
	readonly adapter: GatewayTarget['adapter'];
}): Record<string, string | string[]> {
	const { authorization: _key, cookie: _cookie, host: _host, ...headers } = endToEndHeaders(input.request.headers);
	// An OpenClaw gateway takes a forwarded request for one from outside, and its token for what it is: from the host.
	const from = input.adapter === 'openclaw' ? undefined : input.request.socket.remoteAddress;
	return {
		...headers,
		...(from === undefined ? {} : { 'x-forwarded-for': from }),
		host: `127.0.0.1:${input.port}`,
		'x-tenant-id': input.address.tenantId,
		traceparent: `00-${input.traceId}-${randomBytes(8).toString('hex')}-01`,
		...(input.token === undefined ? {} : { authorization: `Bearer ${input.token}` }),
	};
}

/** The token of a running OpenClaw gateway; undefined when the workload has none. */
export type GatewayToken = (instanceId: InstanceId) => Promise<string | undefined>;
