import { ImageRevision, type InstanceId, MvmError, PoolSpec, parsePoolId, Quotas, type TenantId } from '@mvm/protocol';
import { beforeEach, expect, test } from 'vitest';
import { withDatabase } from '../../../../test/support/postgres.ts';
import { ScriptedHost } from '../../../../test/support/scripted-host.ts';
import { plantPool, plantTenant } from '../../../../test/support/store-fixtures.ts';
import { systemClock } from '../drivers/clock/system.ts';
import { silentLogger } from '../platform/logger.ts';
import { makeMetrics } from '../platform/metrics.ts';
import { readOperations } from '../state/index.ts';
import type { AuditEntry, PoolView } from './deps.ts';
import { Lifecycle } from './lifecycle.ts';
import type { OperationOptions } from './operation-runner.ts';
import { recoverAll } from './recovery.ts';

const store = withDatabase();
const poolId = parsePoolId('workers');
const traceId = 'a'.repeat(32);
let host: ScriptedHost;
let lifecycle: Lifecycle;
let tenantId: TenantId;
let records: AuditEntry[];
let quotas = Quotas.parse({});
let spec = PoolSpec.parse({ id: 'workers', image: 'x' });
let tenants = 0;

const image = ImageRevision.parse({
	hash: 'f'.repeat(64),
	name: 'x',
	kind: 'dir',
	created_at: '2026-01-01T00:00:00Z',
	bytes: 1,
	reused: false,
	workload: {},
	lock: { version: 1, recipe_sha256: 'a' },
});
const options = (more: Partial<OperationOptions> = {}): OperationOptions => ({
	reason: 'test',
	traceId,
	signal: AbortSignal.timeout(10_000),
	...more,
});

function make(): Lifecycle {
	const view = async (): Promise<PoolView> => ({ tenantId, poolId, spec, image, quotas, secretsEpoch: 0 });
	return new Lifecycle({
		db: store.db,
		runtime: host.runtime,
		links: host.links,
		checkpoints: {
			write: async () => ({ checkpointId: 'cp-0123456789abcdef' as never, entries: 1, bytes: 1, refused: [] }),
			restore: async () => ({ checkpointId: 'cp-0123456789abcdef' as never, frozenAt: new Date(0), skipped: [] }),
		},
		clock: systemClock,
		random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
		log: silentLogger,
		metrics: makeMetrics(),
		tokenFor: (id, incarnation) => `${id}/${incarnation}`,
		poolOf: view,
		secretsOf: async () => ({ epoch: 0, files: [] }),
		guestConfigOf: () => ({}) as never,
		handlers: new Map(),
		record: async (entry) => {
			records.push(entry);
		},
		limits: { wakeTimeoutMs: 5_000, linkTimeoutMs: 1_000 },
	});
}

beforeEach(async () => {
	tenants += 1;
	tenantId = await plantTenant(store.db, `t${tenants}`);
	await plantPool(store.db, tenantId, 'workers');
	quotas = Quotas.parse({});
	spec = PoolSpec.parse({ id: 'workers', image: 'x' });
	records = [];
	host = new ScriptedHost();
	lifecycle = make();
});

async function running(): Promise<InstanceId> {
	const { id } = await lifecycle.create({ tenantId, poolId }, options());
	await lifecycle.wake(id, options());
	return id;
}
const row = async (id: InstanceId) => (await lifecycle.handle(id)).row;

test('150 concurrent wakes of a sleeping instance cause one thaw and 150 answers', async () => {
	const id = await running();
	await lifecycle.sleep(id, options());
	expect(await row(id)).toMatchObject({ state: 'sleeping', hibernated: true });
	const outcomes = await Promise.all(Array.from({ length: 150 }, () => lifecycle.wake(id, options())));
	expect(outcomes).toHaveLength(150);
	expect(new Set(outcomes.map((o) => o.outcome))).toEqual(new Set(['resumed']));
	expect(host.count('thaw')).toBe(1);
	expect(await row(id)).toMatchObject({ state: 'running', hibernated: false });
});

test('a wake during a sleep before its point of no return aborts the sleep; the guest is woken and nothing was frozen for good', async () => {
	const id = await running();
	const gate = Promise.withResolvers<void>();
	const reached = Promise.withResolvers<void>();
	host.guest = async (request) => {
		if (request.kind === 'SleepPrep') {
			reached.resolve();
			await gate.promise;
		}
		return undefined;
	};
	const sleep = lifecycle.sleep(id, options());
	await reached.promise;
	const wake = lifecycle.wake(id, options({ reason: 'message' }));
	gate.resolve();
	await expect(sleep).rejects.toMatchObject({ code: 'SLEEP_ABORTED' });
	expect((await wake).outcome).toBe('already-running');
	expect(await row(id)).toMatchObject({ state: 'running' });
	expect(host.count('freeze')).toBe(0);
});

test('a wake during the page-out waits for the sleep and then thaws', async () => {
	const id = await running();
	const gate = Promise.withResolvers<void>();
	const reached = Promise.withResolvers<void>();
	host.fault = async (call) => {
		if (call !== 'snapshot') return;
		reached.resolve();
		await gate.promise;
	};
	const sleep = lifecycle.sleep(id, options());
	await reached.promise;
	const wake = lifecycle.wake(id, options());
	gate.resolve();
	await sleep;
	expect((await wake).outcome).toBe('resumed');
});

test('a failed manifest thaws the instance as a new incarnation and leaves it running', async () => {
	const id = await running();
	const before = (await row(id)).incarnation;
	(lifecycle.deps.checkpoints as { write: unknown }).write = async () => {
		throw new MvmError('DISK_FULL', 'no room');
	};
	await expect(lifecycle.sleep(id, options())).rejects.toMatchObject({ code: 'DISK_FULL' });
	expect(await row(id)).toMatchObject({ state: 'running', incarnation: before + 1 });
	expect(host.trees.get(id)).toMatchObject({ state: 'running', incarnation: before + 1 });
	expect((await row(id)).conditions).toMatchObject([{ type: 'OperationFailed', reason: 'DISK_FULL' }]);
});

test('a critical integration whose checkpoint fails keeps the instance running; force overrides and is recorded', async () => {
	spec = PoolSpec.parse({
		id: 'workers',
		image: 'x',
		integrations: [{ name: 'state', critical: true, checkpoint_cmd: 'false' }],
	});
	const id = await running();
	host.guest = (request) =>
		request.kind === 'CheckpointIntegrations'
			? { kind: 'CheckpointResult', success: false, failed: ['state'], detail: 'exit code 1' }
			: undefined;
	await expect(lifecycle.sleep(id, options())).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
	expect(await row(id)).toMatchObject({ state: 'running', conditions: [{ reason: 'CHECKPOINT_FAILED' }] });
	await lifecycle.sleep(id, options({ forced: true }));
	expect((await row(id)).state).toBe('sleeping');
	expect(records.filter((r) => r.action === 'checkpoint_failed').map((r) => r.outcome)).toEqual(['refused', 'overridden']);
});

test('memory that cannot be resumed is given up and the wake goes cold in the same call', async () => {
	const id = await running();
	await lifecycle.sleep(id, options());
	host.fault = (call) => {
		if (call === 'thaw') throw new MvmError('INTERNAL', 'freezer is stuck');
	};
	expect((await lifecycle.wake(id, options())).outcome).toBe('cold-boot');
	expect(host.trees.get(id)).toMatchObject({ state: 'running', hibernated: false });
	expect((await row(id)).incarnation).toBe(host.trees.get(id)?.incarnation);
});

test('without room for the memory the instance sleeps cold', async () => {
	const id = await running();
	host.fault = (call) => {
		if (call === 'snapshot') throw new MvmError('SNAPSHOT_UNAVAILABLE', 'no swap');
	};
	await lifecycle.sleep(id, options());
	expect(await row(id)).toMatchObject({ state: 'sleeping', hibernated: false });
	expect(host.trees.get(id)?.state).toBe('exited');
	expect((await lifecycle.wake(id, options())).outcome).toBe('cold-boot');
});

test('a worker that never becomes ready gives its last log lines, is stopped, and backs off', async () => {
	const { id } = await lifecycle.create({ tenantId, poolId }, options());
	host.guest = (request) =>
		request.kind === 'SupervisorStatus'
			? {
					kind: 'SupervisorStatus',
					workload: {
						state: 'crash_loop',
						pid: null,
						restarts: 5,
						lastExit: { code: 3, signal: null },
						lastLogLines: ['no config'],
					},
					inFlightForwards: 0,
					busyReasons: [],
					lastActivityAt: null,
					incarnation: 1,
				}
			: undefined;
	await expect(lifecycle.wake(id, options())).rejects.toMatchObject({
		code: 'CRASH_LOOP',
		details: { last_log_lines: ['no config'] },
	});
	expect(await row(id)).toMatchObject({
		state: 'ready',
		failures: 1,
		conditions: [{ type: 'StartFailed', reason: 'CRASH_LOOP' }],
	});
	expect(host.trees.get(id)?.state).toBe('exited');
});

test('quotas count what is being woken: of two concurrent starts over the limit one is refused with figures', async () => {
	quotas = Quotas.parse({ max_running: 1 });
	const a = await lifecycle.create({ tenantId, poolId }, options());
	const b = await lifecycle.create({ tenantId, poolId }, options());
	const results = await Promise.allSettled([lifecycle.wake(a.id, options()), lifecycle.wake(b.id, options())]);
	expect(results.map((r) => r.status).toSorted()).toEqual(['fulfilled', 'rejected']);
	const refused = results.find((r) => r.status === 'rejected');
	expect(refused).toMatchObject({
		reason: { code: 'QUOTA_EXCEEDED', details: { excess: [{ quota: 'max_running', limit: 1, used: 1 }] } },
	});
});

test('a held instance is not held past its release, and a hold wakes', async () => {
	const id = await running();
	await lifecycle.sleep(id, options());
	const held = await lifecycle.hold(id, 'held_ingress', options());
	const handle = await lifecycle.handle(id);
	expect(handle.holds).toEqual(['held_ingress']);
	held.release();
	held.release();
	expect(handle.holds).toEqual([]);
});

test.each(['prepare', 'boot', 'freeze', 'snapshot', 'thaw'] as const)(
	'a daemon that dies in %s is followed by a recovery that ends the operation and leaves one living tree at most',
	async (dying) => {
		const { id } = await lifecycle.create({ tenantId, poolId }, options());
		const reached = Promise.withResolvers<void>();
		const died = (): void => {
			host.fault = async (call) => {
				if (call !== dying) return;
				reached.resolve();
				await new Promise(() => {}); // the old daemon never goes on
			};
		};
		if (dying !== 'prepare' && dying !== 'boot') await lifecycle.wake(id, options());
		if (dying === 'thaw') await lifecycle.sleep(id, options());
		died();
		const act = dying === 'freeze' || dying === 'snapshot' ? lifecycle.sleep(id, options()) : lifecycle.wake(id, options());
		act.catch(() => {});
		await reached.promise;
		host.fault = () => {};
		const next = make();
		const report = await recoverAll(next);
		expect(report.errors).toEqual([]);
		expect(await store.db.asSystem((tx) => readOperations(tx, { isOpen: true, limit: 10 }))).toEqual([]);
		const [last] = await store.db.asSystem((tx) => readOperations(tx, { instanceId: id, limit: 1 }));
		expect(last?.outcome).toMatch(/^recovered_/);
		const woken = await next.wake(id, options());
		expect(['resumed', 'cold-boot', 'already-running']).toContain(woken.outcome);
		const after = (await next.handle(id)).row;
		expect(after.state).toBe('running');
		expect(after.incarnation).toBe(host.trees.get(id)?.incarnation);
	},
);

test('recovery erases a sandbox that no row knows', async () => {
	const stray = 'i-00000000' as InstanceId;
	host.trees.set(stray, { state: 'running', incarnation: 4, hibernated: false });
	const report = await recoverAll(make());
	expect(report.orphans).toBe(1);
	expect(host.trees.has(stray)).toBe(false);
});

test('destroy erases and forgets', async () => {
	const id = await running();
	await lifecycle.destroy(id, options());
	expect(host.trees.has(id)).toBe(false);
	await expect(lifecycle.handle(id)).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
});
