// Names on the command line: `<tenant>/<pool>/<instance>` and its shorter forms, durations, numbers. Refuses with USAGE or
// INVALID_ID and says what the form is.
import {
	type InstanceId,
	MvmError,
	type PoolId,
	parseInstanceId,
	parsePoolId,
	parseTenantId,
	type TenantId,
} from '@mvm/protocol';
import type { CommandContext } from './define-command.ts';

export function tenantName(text: string): TenantId {
	return parseTenantId(text);
}

/** `tenant/pool`. */
export function poolName(text: string): { readonly tenantId: TenantId; readonly poolId: PoolId } {
	const [tenant, pool, more] = text.split('/');
	if (tenant === undefined || pool === undefined || more !== undefined) {
		throw new MvmError('USAGE', `this is no pool: ${text}`, { hint: 'write <tenant>/<pool>, such as acme/workers' });
	}
	return { tenantId: parseTenantId(tenant), poolId: parsePoolId(pool) };
}

/** `tenant/pool/instance`, or the instance's id alone, which is unique. */
export function instanceName(text: string): { readonly id: InstanceId; readonly tenantId?: TenantId; readonly poolId?: PoolId } {
	if (!text.includes('/')) return { id: parseInstanceId(text) };
	const [tenant = '', pool = '', instance, more] = text.split('/');
	if (instance === undefined || more !== undefined) {
		throw new MvmError('USAGE', `this is no instance: ${text}`, {
			hint: 'write <tenant>/<pool>/<instance>, such as acme/workers/i-0123abcd, or the id alone',
		});
	}
	return { id: parseInstanceId(instance), tenantId: parseTenantId(tenant), poolId: parsePoolId(pool) };
}

/** The instance's id, once the platform agrees that it is where the name says. */
export async function checkedInstance({ client, args, signal }: CommandContext): Promise<InstanceId> {
	const name = instanceName(args['instance'] ?? '');
	if (name.tenantId === undefined) return name.id;
	const found = await client.routes.instance.get({ params: { instance: name.id } }, { signal });
	if (found.tenantId === name.tenantId && found.poolId === name.poolId) return name.id;
	throw new MvmError('INSTANCE_NOT_FOUND', `pool ${name.tenantId}/${name.poolId} has no instance ${name.id}`, {
		hint: `mvm instance list --tenant ${name.tenantId} shows them`,
	});
}

/** `30`, `30s`, `5m`, `1h` in seconds. */
export function seconds(text: string): number {
	const [, number, unit = 's'] = /^(\d{1,6})(s|m|h)?$/.exec(text) ?? [];
	if (number === undefined) throw new MvmError('USAGE', `this is no duration: ${text}`, { hint: 'write 30s, 5m or 1h' });
	return Number(number) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h'];
}

export function wholeNumber(text: string, what: string): number {
	if (/^\d{1,9}$/.test(text)) return Number(text);
	throw new MvmError('USAGE', `${what} must be a whole number, not ${text}`);
}

/** An option that takes a value. */
export function textOption(options: CommandContext['options'], name: string): string | undefined {
	const value = options[name];
	return typeof value === 'string' ? value : undefined;
}
