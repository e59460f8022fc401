// What a deploy file wants against what it allows itself: a count that can never be reached is refused at once, with figures.
import type { DocumentProblem } from '../codec/problems.ts';
import type { DeployFile } from './deploy-schema.ts';

/** Problems between the pools of a file and its quotas. */
export function quotaChecks({ tenant, pools }: Pick<DeployFile, 'tenant' | 'pools'>): DocumentProblem[] {
	const { quotas } = tenant;
	const problems: DocumentProblem[] = [];
	const within = (path: string, wanted: number, quota: string, allowed: number): void => {
		if (wanted > allowed) problems.push({ path, message: `wants ${wanted}, but tenant.quotas.${quota} allows ${allowed}` });
	};
	const sum = (of: (pool: DeployFile['pools'][number]) => number): number => pools.reduce((total, pool) => total + of(pool), 0);
	within('pools', pools.length, 'max_pools', quotas.maxPools);
	within(
		'pools',
		sum((pool) => pool.desired.running),
		'max_running',
		quotas.maxRunning,
	);
	within(
		'pools',
		sum((pool) => pool.desired.warm),
		'max_warm',
		quotas.maxWarm,
	);
	for (const [at, { desired, vcpus, memMib }] of pools.entries()) {
		const all = desired.running + desired.warm + desired.sleeping;
		within(`pools[${at}].desired`, all, 'max_instances_per_pool', quotas.maxInstancesPerPool);
		within(`pools[${at}].vcpus`, vcpus, 'max_vcpus', quotas.maxVcpus);
		within(`pools[${at}].mem_mib`, memMib, 'max_mem_mib', quotas.maxMemMib);
	}
	return problems;
}
