// Admission: the limit itself fits, one more does not, with exact figures; nothing planned one after another exceeds.
import type { Quotas } from '@mvm/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { admit, type QuotaRequest, type UsageItem, usageAfter, usageOf } from './quota.ts';

const limits: Quotas = {
	maxRunning: 2,
	maxWarm: 1,
	maxVcpus: 4,
	maxMemMib: 4096,
	maxPools: 2,
	maxInstancesPerPool: 3,
	maxDiskGib: 4,
};
const item = (state: UsageItem['state'], more: Partial<UsageItem> = {}): UsageItem => ({
	pool: 'p',
	state,
	isComingUp: false,
	vcpus: 1,
	memMib: 1024,
	dataDiskMib: 1024,
	...more,
});

test('running takes CPU and memory, warm memory, the rest disk', () => {
	const usage = usageOf(
		[item('running'), item('warm'), item('sleeping'), item('stopped', { pool: 'q' }), item('destroyed'), item('created')],
		2,
	);
	expect(usage).toEqual({
		running: 1,
		warm: 1,
		vcpus: 1,
		memMib: 2048,
		diskMib: 5120,
		pools: 2,
		instancesByPool: new Map([
			['p', 4],
			['q', 1],
		]),
	});
});
test('what is coming up counts as running, once', () => {
	const usage = usageOf(
		[item('sleeping', { isComingUp: true }), item('warm', { isComingUp: true }), item('running', { isComingUp: true })],
		1,
	);
	expect(usage).toMatchObject({ running: 3, warm: 0, vcpus: 3, memMib: 3072 });
});

describe('the figures of a refusal', () => {
	const usage = usageOf([item('running', { memMib: 2048 }), item('running'), item('warm')], 2);
	test('start over several quotas names each', () => {
		expect(admit(limits, usage, { kind: 'start', vcpus: 3, memMib: 512 })).toEqual({
			admitted: false,
			code: 'QUOTA_EXCEEDED',
			excess: [
				{ quota: 'max_running', unit: 'instances', limit: 2, used: 2, requested: 1 },
				{ quota: 'max_vcpus', unit: 'vcpus', limit: 4, used: 2, requested: 3 },
				{ quota: 'max_mem_mib', unit: 'mib', limit: 4096, used: 4096, requested: 512 },
			],
			message: 'max_running: 2 + 1 of 2 instances; max_vcpus: 2 + 3 of 4 vcpus; max_mem_mib: 4096 + 512 of 4096 mib',
		});
	});
	test.each([
		[{ kind: 'thaw', vcpus: 1 }, 'max_running'],
		[{ kind: 'warm' }, 'max_warm'],
		[{ kind: 'create_pool' }, 'max_pools'],
		[{ kind: 'create', pool: 'p', dataDiskMib: 10 }, 'max_instances_per_pool'],
		[{ kind: 'create', pool: 'q', dataDiskMib: 2048 }, 'max_disk_gib'],
		[{ kind: 'start', vcpus: Number.NaN, memMib: 0 }, 'max_vcpus'],
	] as [QuotaRequest, string][])('%j exceeds %s', (request, quota) => {
		const answer = admit(limits, usage, request);
		expect(answer.admitted ? [] : answer.excess.map((e) => e.quota)).toContain(quota);
	});
	test('up to the limit fits', () => {
		expect(admit(limits, usage, { kind: 'create', pool: 'q', dataDiskMib: 1024 })).toEqual({ admitted: true });
		const one = usageOf([item('running')], 1);
		expect(admit(limits, one, { kind: 'start', vcpus: 3, memMib: 3072 })).toEqual({ admitted: true });
	});
});

test('any sequence of admitted requests stays within the limits', () => {
	const request: fc.Arbitrary<QuotaRequest> = fc.oneof(
		fc.record({ kind: fc.constant('create' as const), pool: fc.constantFrom('p', 'q'), dataDiskMib: fc.nat(2048) }),
		fc.record({ kind: fc.constant('start' as const), vcpus: fc.nat(3), memMib: fc.nat(2048) }),
		fc.record({ kind: fc.constant('warm' as const) }),
		fc.record({ kind: fc.constant('create_pool' as const) }),
	);
	fc.assert(
		fc.property(fc.array(request, { maxLength: 30 }), (requests) => {
			let usage = usageOf([], 0);
			for (const r of requests) if (admit(limits, usage, r).admitted) usage = usageAfter(usage, r);
			expect(usage.running).toBeLessThanOrEqual(limits.maxRunning);
			expect(usage.warm).toBeLessThanOrEqual(limits.maxWarm);
			expect(usage.vcpus).toBeLessThanOrEqual(limits.maxVcpus);
			expect(usage.memMib).toBeLessThanOrEqual(limits.maxMemMib);
			expect(usage.pools).toBeLessThanOrEqual(limits.maxPools);
			expect(usage.diskMib).toBeLessThanOrEqual(limits.maxDiskGib * 1024);
			for (const count of usage.instancesByPool.values()) expect(count).toBeLessThanOrEqual(limits.maxInstancesPerPool);
		}),
	);
});
