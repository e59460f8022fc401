// Admission against a tenant's quotas, at the one place where the answer is committed: the caller reads usage and writes its
// claim in the same transaction. Usage counts what is pending, starting and waking as if it were there already.
import type { Quotas } from '@mvm/protocol';
import type { InstanceState } from './instance-state.ts';

/** One instance as quotas see it. */
export interface UsageItem {
	readonly pool: string;
	readonly state: InstanceState;
	/** An operation that ends awake (create to be started, start, wake) is claimed: it counts as running from now on. */
	readonly isComingUp: boolean;
	readonly vcpus: number;
	readonly memMib: number;
	readonly dataDiskMib: number;
}
export interface Usage {
	readonly running: number;
	readonly warm: number;
	readonly vcpus: number;
	readonly memMib: number;
	readonly pools: number;
	readonly instancesByPool: ReadonlyMap<string, number>;
	readonly diskMib: number;
}

/** Sums what the instances of one tenant take. Warm takes memory and no CPU; every instance that is not destroyed takes disk. */
export function usageOf(items: readonly UsageItem[], pools: number): Usage {
	const byPool = new Map<string, number>();
	const sum = { running: 0, warm: 0, vcpus: 0, memMib: 0, diskMib: 0 };
	for (const item of items) {
		if (item.state === 'destroyed') continue;
		byPool.set(item.pool, (byPool.get(item.pool) ?? 0) + 1);
		sum.diskMib += item.dataDiskMib;
		const awake = item.state === 'running' || item.isComingUp;
		if (awake) {
			sum.running += 1;
			sum.vcpus += item.vcpus;
		} else if (item.state === 'warm') sum.warm += 1;
		if (awake || item.state === 'warm') sum.memMib += item.memMib;
	}
	return { ...sum, pools, instancesByPool: byPool };
}

/** What is asked for. */
export type QuotaRequest =
	/** One more instance of a pool; it takes disk at once and counts as running when it is started. */
	| { readonly kind: 'create'; readonly pool: string; readonly dataDiskMib: number }
	/** An instance that takes no memory now (created, ready, stopped, sleeping) comes to run. */
	| { readonly kind: 'start'; readonly vcpus: number; readonly memMib: number }
	/** A warm instance comes to run: its memory is counted already. */
	| { readonly kind: 'thaw'; readonly vcpus: number }
	/** A running instance is to be kept warm. Refused: it may go to sleep instead. */
	| { readonly kind: 'warm' }
	| { readonly kind: 'create_pool' };

export type QuotaName =
	| 'max_running'
	| 'max_warm'
	| 'max_vcpus'
	| 'max_mem_mib'
	| 'max_pools'
	| 'max_instances_per_pool'
	| 'max_disk_gib';
export interface QuotaExcess {
	readonly quota: QuotaName;
	/** In the quota's own unit; disk in MiB so that the figures are exact. */
	readonly unit: 'instances' | 'vcpus' | 'mib' | 'pools';
	readonly limit: number;
	readonly used: number;
	readonly requested: number;
}
export type Admission =
	| { readonly admitted: true }
	| {
			readonly admitted: false;
			readonly code: 'QUOTA_EXCEEDED';
			readonly excess: readonly QuotaExcess[];
			readonly message: string;
	  };

/** Admits the request or names every quota that it would exceed, with figures. */
export function admit(limits: Quotas, usage: Usage, request: QuotaRequest): Admission {
	const excess: QuotaExcess[] = [];
	const need = (quota: QuotaName, unit: QuotaExcess['unit'], limit: number, used: number, requested: number): void => {
		// Written so that a figure that is not a number is refused.
		if (!(used + requested <= limit)) excess.push({ quota, unit, limit, used, requested });
	};
	switch (request.kind) {
		case 'create':
			need('max_instances_per_pool', 'instances', limits.maxInstancesPerPool, usage.instancesByPool.get(request.pool) ?? 0, 1);
			need('max_disk_gib', 'mib', limits.maxDiskGib * 1024, usage.diskMib, request.dataDiskMib);
			break;
		case 'start':
			need('max_running', 'instances', limits.maxRunning, usage.running, 1);
			need('max_vcpus', 'vcpus', limits.maxVcpus, usage.vcpus, request.vcpus);
			need('max_mem_mib', 'mib', limits.maxMemMib, usage.memMib, request.memMib);
			break;
		case 'thaw':
			need('max_running', 'instances', limits.maxRunning, usage.running, 1);
			need('max_vcpus', 'vcpus', limits.maxVcpus, usage.vcpus, request.vcpus);
			break;
		case 'warm':
			need('max_warm', 'instances', limits.maxWarm, usage.warm, 1);
			break;
		case 'create_pool':
			need('max_pools', 'pools', limits.maxPools, usage.pools, 1);
			break;
		default:
			request satisfies never;
	}
	if (excess.length === 0) return { admitted: true };
	const message = excess.map((e) => `${e.quota}: ${e.used} + ${e.requested} of ${e.limit} ${e.unit}`).join('; ');
	return { admitted: false, code: 'QUOTA_EXCEEDED', excess, message };
}

/** The usage after an admitted request, for callers that plan several in a row. */
export function usageAfter(usage: Usage, request: QuotaRequest): Usage {
	switch (request.kind) {
		case 'create': {
			const byPool = new Map(usage.instancesByPool);
			byPool.set(request.pool, (byPool.get(request.pool) ?? 0) + 1);
			return { ...usage, instancesByPool: byPool, diskMib: usage.diskMib + request.dataDiskMib };
		}
		case 'start':
			return {
				...usage,
				running: usage.running + 1,
				vcpus: usage.vcpus + request.vcpus,
				memMib: usage.memMib + request.memMib,
			};
		case 'thaw':
			return { ...usage, running: usage.running + 1, warm: usage.warm - 1, vcpus: usage.vcpus + request.vcpus };
		case 'warm':
			return { ...usage, warm: usage.warm + 1 };
		case 'create_pool':
			return { ...usage, pools: usage.pools + 1 };
	}
	request satisfies never;
	return usage;
}
