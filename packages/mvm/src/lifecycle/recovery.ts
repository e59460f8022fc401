// Start-up recovery: brings the journal, the rows and what the host really shows together, one instance at a time.
// Decides nothing itself: domain/recovery.ts does; this file applies its effects, then its events, then greets the guest.
import { MvmError } from '@mvm/protocol';
import type { Operation, OperationKind, OperationStep } from '../domain/operation.ts';
import { type HostEffect, hostView, type RecoveryPlan, recover } from '../domain/recovery.ts';
import type { Observed } from '../ports/runtime.ts';
import { finishOperation, getInstance, type OperationRow, readOperations } from '../state/index.ts';
import { GuestAgent } from './guest-agent.ts';
import type { InstanceHandle } from './instance-handle.ts';
import { lifePatch } from './life-patch.ts';
import type { Lifecycle } from './lifecycle.ts';
import { postRestoreOf } from './steps/boot.ts';

const EFFECT_MS = 120_000;
const GREET_MS = 30_000;
/** One open operation per instance; far above what a host holds. */
const MAX_OPEN = 1_000_000;
const LOOK_MS = 1_000;

export interface RecoveryReport {
	readonly instances: number;
	readonly adopted: number;
	readonly finished: number;
	readonly rolledBack: number;
	readonly stopped: number;
	readonly killed: number;
	/** Sandboxes of instances that no row knows; ended and erased. */
	readonly orphans: number;
	readonly errors: readonly { readonly instanceId: string; readonly error: unknown }[];
}

/** Runs once before the edge opens. An instance that cannot be settled is reported and does not stop the others. */
export async function recoverAll(lifecycle: Lifecycle): Promise<RecoveryReport> {
	const { db, runtime, log } = lifecycle.deps;
	lifecycle.settleWith((handle) => settle(lifecycle, handle));
	const signal = AbortSignal.timeout(EFFECT_MS);
	const [handles, operations, observed] = await Promise.all([
		lifecycle.load(),
		db.asSystem((tx) => readOperations(tx, { isOpen: true, limit: MAX_OPEN })),
		runtime.adopt({ signal }),
	]);
	const byInstance = new Map(operations.map((o) => [o.instanceId, o]));
	const seen = new Map(observed.map((o) => [o.instanceId, o]));
	const plans: RecoveryPlan['action'][] = [];
	const errors: { instanceId: string; error: unknown }[] = [];
	await Promise.all(
		handles.map(async (handle) => {
			try {
				plans.push(await recoverOne(lifecycle, handle, byInstance.get(handle.id), seen.get(handle.id)));
			} catch (error) {
				log.error({ err: error, instance_id: handle.id }, 'instance could not be recovered');
				handle.needsSettling = true;
				errors.push({ instanceId: handle.id, error });
			}
		}),
	);
	const known = new Set(handles.map((h) => h.id));
	const orphans = observed.filter((o) => !known.has(o.instanceId));
	for (const orphan of orphans) {
		log.warn({ instance_id: orphan.instanceId, slot: orphan.slot }, 'sandbox without a row, erasing it');
		await runtime.destroy(orphan.instanceId, { signal: AbortSignal.timeout(EFFECT_MS) });
	}
	const count = (action: RecoveryPlan['action']): number => plans.filter((p) => p === action).length;
	return {
		instances: handles.length,
		adopted: count('adopt'),
		finished: count('finish'),
		rolledBack: count('roll_back'),
		stopped: count('mark_stopped'),
		killed: count('kill_stale'),
		orphans: orphans.length,
		errors,
	};
}

/** Looks again at instances that recovery could not settle and at running ones whose guest is gone. Returns what ends it. */
export function watchLives(lifecycle: Lifecycle): () => void {
	const { clock, log } = lifecycle.deps;
	let cancel = (): void => {};
	const look = async (): Promise<void> => {
		const lost = lifecycle.handles.filter(
			({ needsSettling, operation, isGreeting, row, link }) =>
				operation === undefined && !isGreeting && (needsSettling || (row.state === 'running' && link?.state !== 'up')),
		);
		await Promise.all(
			lost.map((handle) =>
				lifecycle.settle(handle).catch((err: unknown) => log.debug({ err, instance_id: handle.id }, 'instance not settled yet')),
			),
		);
		cancel = clock.after(LOOK_MS, () => void look());
	};
	cancel = clock.after(LOOK_MS, () => void look());
	return () => cancel();
}

/** The same as at start, for one instance while the daemon lives: hostd or the store was away, or the guest has died. */
async function settle(lifecycle: Lifecycle, handle: InstanceHandle): Promise<void> {
	const { db, runtime } = lifecycle.deps;
	const { row, journal } = await db.asSystem(
		async (tx) => ({
			row: await getInstance(tx, handle.id),
			journal: (await readOperations(tx, { instanceId: handle.id, isOpen: true, limit: 1 })).at(0),
		}),
		{ idempotent: true },
	);
	if (handle.operation !== undefined) return;
	if (row === undefined) throw new MvmError('INSTANCE_NOT_FOUND', `no instance ${handle.id}`);
	lifecycle.setRow(handle, row);
	const observed = await runtime.inspect(handle.id, { signal: AbortSignal.timeout(EFFECT_MS) });
	if (handle.operation !== undefined) return;
	// Until it is through, nothing else is begun.
	handle.needsSettling = true;
	await recoverOne(lifecycle, handle, journal, observed);
	handle.needsSettling = false;
}

async function recoverOne(
	lifecycle: Lifecycle,
	handle: InstanceHandle,
	journal: OperationRow | undefined,
	observed: Observed | undefined,
): Promise<RecoveryPlan['action']> {
	const { deps } = lifecycle;
	const { row } = handle;
	const operation: Operation | undefined =
		journal === undefined
			? undefined
			: { kind: journal.kind as OperationKind, step: journal.step as OperationStep, incarnation: journal.incarnation };
	const plan = recover(operation, hostView(observed), {
		state: row.state,
		incarnation: row.incarnation,
		hibernated: row.hibernated,
	});
	const log = deps.log.child({
		instance_id: handle.id,
		tenant_id: row.tenantId,
		...(journal === undefined ? {} : { operation_id: journal.id }),
	});
	if (plan.action !== 'nothing' || operation !== undefined) {
		log.info(
			{ action: plan.action, reason: plan.reason, effects: plan.effects, step: journal?.step, host: observed?.state },
			'instance recovered',
		);
	}
	let memoryKept = true;
	for (const effect of plan.effects) memoryKept = (await applyEffect(lifecycle, handle, effect)) && memoryKept;
	const events = memoryKept ? plan.events : plan.events.map((e) => (e.kind === 'slept' ? { ...e, hibernated: false } : e));
	const patch = {
		...lifePatch(row, events, deps.clock.now()),
		...(plan.incarnation > row.incarnation ? { incarnation: plan.incarnation } : {}),
	};
	if (journal !== undefined) {
		const finished = await deps.db.asSystem((tx) =>
			finishOperation(tx, {
				operationId: journal.id,
				instanceId: handle.id,
				outcome: `recovered_${plan.outcome ?? 'done'}`,
				detail: { recovery: plan.reason },
				patch,
			}),
		);
		lifecycle.setRow(handle, finished);
	} else if (Object.keys(patch).length > 0) await lifecycle.patch(handle, patch);
	const isLinkGood = handle.link !== undefined && plan.action === 'nothing' && operation === undefined;
	if (plan.live > 0 && memoryKept && !isLinkGood) await openLink(lifecycle, handle, await liveAs(lifecycle, handle, plan.live));
	if (plan.action !== 'nothing') {
		await deps.record({
			tenantId: row.tenantId,
			poolId: row.poolId,
			instanceId: handle.id,
			actor: 'recovery',
			action: 'instance_recovered',
			target: handle.id,
			outcome: plan.action,
			detail: { reason: plan.reason, state: handle.row.state },
		});
	}
	// The guest may take its time to dial in again; nobody has to wait for it before the edge opens.
	if (handle.row.state === 'running') void greet(lifecycle, handle, plan.greet);
	return plan.action;
}

/** False only when memory was to be kept and this host could not. */
async function applyEffect(lifecycle: Lifecycle, handle: InstanceHandle, effect: HostEffect): Promise<boolean> {
	const { runtime } = lifecycle.deps;
	const signal = AbortSignal.timeout(EFFECT_MS);
	const { id } = handle;
	switch (effect.kind) {
		case 'freeze':
			await runtime.freeze(id, { signal });
			return true;
		case 'snapshot':
			try {
				await runtime.snapshot(id, { signal });
				return true;
			} catch (error) {
				lifecycle.deps.log.warn({ err: error, instance_id: id }, 'memory could not be paged out during recovery');
				await runtime.stop({ instanceId: id, graceMs: 0 }, { signal });
				return false;
			}
		case 'stop_tree':
			await runtime.stop({ instanceId: id, graceMs: 0 }, { signal });
			return true;
		case 'erase':
			await runtime.destroy(id, { signal });
			return true;
		case 'thaw':
			await runtime.thaw({ instanceId: id, incarnation: effect.incarnation }, { signal });
			return true;
	}
}

/**
 * A running guest is greeted as the incarnation that the row was allotted last; the host learns of it first, so that no guest is
 * ever ahead of what the host will say after the next crash.
 */
async function liveAs(lifecycle: Lifecycle, handle: InstanceHandle, live: number): Promise<number> {
	const { state, incarnation } = handle.row;
	if (state !== 'running' || incarnation <= live) return live;
	await lifecycle.deps.runtime.thaw({ instanceId: handle.id, incarnation }, { signal: AbortSignal.timeout(EFFECT_MS) });
	return incarnation;
}

async function openLink(lifecycle: Lifecycle, handle: InstanceHandle, incarnation: number): Promise<void> {
	const { deps } = lifecycle;
	const { spec } = await deps.poolOf(handle.row.tenantId, handle.row.poolId);
	const prepared = await deps.runtime.prepare(
		{ instanceId: handle.id, dataDiskMib: spec.dataDiskMib },
		{ signal: AbortSignal.timeout(EFFECT_MS) },
	);
	await handle.link?.close();
	handle.link = undefined;
	handle.link = await deps.links.open({
		instanceId: handle.id,
		linkDir: prepared.linkDir,
		identity: { incarnation, token: deps.tokenFor(handle.id, incarnation) },
		wasIssued: (identity) => identity.token === deps.tokenFor(handle.id, identity.incarnation),
		handlers: deps.handlers,
	});
}

/** Re-identifies a running guest. One that never comes is ended: the next message wakes the instance cold. */
async function greet(lifecycle: Lifecycle, handle: InstanceHandle, always: boolean): Promise<void> {
	const { deps } = lifecycle;
	const { link } = handle;
	if (handle.isGreeting) return;
	handle.isGreeting = true;
	const signal = AbortSignal.timeout(GREET_MS);
	try {
		if (link === undefined) throw new MvmError('LINK_DOWN', 'no link was opened');
		const state = await link.until(['stale', 'up'], { signal });
		if (!always && state === 'up') return;
		const agent = new GuestAgent(link);
		const { incarnation, secretsEpoch } = handle.row;
		await agent.postRestore(postRestoreOf(deps, { incarnation, token: deps.tokenFor(handle.id, incarnation) }, secretsEpoch), {
			signal,
		});
		link.acknowledged();
		await agent.wake({ signal });
	} catch (error) {
		deps.log.warn({ err: error, instance_id: handle.id }, 'running guest did not answer after recovery, stopping it');
		await lifecycle
			.stop(handle.id, { reason: 'recovery', traceId: '0'.repeat(32), signal: AbortSignal.timeout(EFFECT_MS), forced: true })
			.catch((err: unknown) => deps.log.error({ err, instance_id: handle.id }, 'unresponsive instance could not be stopped'));
	} finally {
		handle.isGreeting = false;
	}
}
