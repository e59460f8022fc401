import { type InstanceId, parsePoolId, parseTenantId } from '@mvm/protocol';
import { expect, test } from 'vitest';
import type { Lifecycle } from '../lifecycle/index.ts';
import { Orchestrator } from './orchestrator.ts';

const tenantId = parseTenantId('acme');
const poolId = parsePoolId('workers');
const input = { tenantId, poolId, why: 'ingress', traceId: 'a'.repeat(32) } as const;
const signal = AbortSignal.timeout(5_000);

interface Fake {
	readonly id: string;
	readonly state: string;
	readonly attention?: boolean;
}

/** Lifecycle as far as the orchestrator sees it. */
function over(instances: readonly Fake[]) {
	const created: string[] = [];
	const held: string[] = [];
	const handles = instances.map(({ id, state, attention }) => ({
		id,
		isServing: state === 'running',
		row: {
			tenantId,
			poolId,
			state,
			hibernated: false,
			conditions: attention ? [{ type: 'NeedsAttention', status: true, reason: 'x', message: 'x' }] : [],
		},
	}));
	const lifecycle = {
		handles,
		create: async () => {
			created.push('i-00000009');
			return { id: 'i-00000009' as InstanceId };
		},
		hold: async (id: string) => {
			held.push(id);
			return { release: () => {}, incarnation: 1, wake: { outcome: 'already-running', totalMs: 0, steps: [] } };
		},
	} as unknown as Lifecycle;
	return { created, held, orchestrator: new Orchestrator({ lifecycle, suspensionOf: async () => undefined }) };
}

test('a pool whose every instance waits for a person gets no fresh one: that would lack the state it must not lose', async () => {
	const { orchestrator, created } = over([{ id: 'i-00000001', state: 'stopped', attention: true }]);
	await expect(orchestrator.acquire(input, { signal })).rejects.toMatchObject({ code: 'NEEDS_ATTENTION' });
	expect(created).toEqual([]);
});

test('an empty pool gets its first instance once, however many ask', async () => {
	const { orchestrator, created } = over([]);
	await Promise.all(Array.from({ length: 20 }, () => orchestrator.acquire(input, { signal })));
	expect(created).toHaveLength(1);
});

test('without an order key the cheapest instance serves; one that needs attention never', async () => {
	const { orchestrator, held } = over([
		{ id: 'i-00000001', state: 'running', attention: true },
		{ id: 'i-00000002', state: 'sleeping' },
		{ id: 'i-00000003', state: 'running' },
	]);
	await orchestrator.acquire(input, { signal });
	expect(held).toEqual(['i-00000003']);
});

test('a suspended tenant is refused with the reason before anything is chosen', async () => {
	const suspended = new Orchestrator({ lifecycle: {} as Lifecycle, suspensionOf: async () => 'unpaid' });
	await expect(suspended.acquire(input, { signal })).rejects.toMatchObject({
		code: 'TENANT_SUSPENDED',
		message: expect.stringContaining('unpaid'),
	});
});
