// The one writer of instance state. Every change is an operation: claimed, journaled step by step, finished or taken back.
// Callers who want the same thing join; late traffic aborts a sleep before its point of no return. Recovery is recovery.ts.
import type { Duplex } from 'node:stream';
import { type InstanceId, MvmError, newInstanceId, type PoolId, type TenantId, type WakeOutcome } from '@mvm/protocol';
import type { InstanceEvent } from '../domain/instance-state.ts';
import { admit, type QuotaRequest, usageOf } from '../domain/quota.ts';
import {
	createInstance,
	getInstance,
	type InstancePatch,
	type InstanceRow,
	listInstances,
	updateInstance,
} from '../state/index.ts';
import type { LifecycleDeps, PoolView } from './deps.ts';
import { GuestAgent } from './guest-agent.ts';
import { type HoldReason, InstanceHandle } from './instance-handle.ts';
import type { OperationContext } from './operation-context.ts';
import { joinResult, type OperationOptions, OperationRunner } from './operation-runner.ts';
import { type BootResult, bootInstance } from './steps/boot.ts';
import { quiesce } from './steps/quiesce.ts';
import { endTree, freezeInstance, pageOut, writeManifest } from './steps/rest.ts';
import { thawInstance } from './steps/thaw.ts';

export interface CheckpointedEvent {
	readonly instanceId: InstanceId;
	readonly tenantId: TenantId;
	readonly checkpointId: string;
	/** Messages taken up to this moment are contained. */
	readonly frozenAt: Date;
}

/** Bound of every loop that waits for other operations to pass. */
const MAX_TURNS = 16;
const ERASE_MS = 300_000;
/** One look at a guest that has to connect again. */
const GUEST_BACK_MS = 5_000;

export class Lifecycle {
	readonly deps: LifecycleDeps;
	readonly #handles = new Map<InstanceId, InstanceHandle>();
	readonly #checkpointed = new Set<(event: CheckpointedEvent) => Promise<void>>();
	readonly #rolledBack = new Set<(event: CheckpointedEvent) => Promise<void>>();
	readonly #changed = new Set<(row: InstanceRow) => void>();
	readonly #runner: OperationRunner;
	#settle: (handle: InstanceHandle) => Promise<void> = () =>
		Promise.reject(new MvmError('OPERATION_IN_PROGRESS', 'recovery has not run yet'));

	constructor(deps: LifecycleDeps) {
		this.deps = deps;
		this.#runner = new OperationRunner(deps, {
			setRow: (handle, row) => this.setRow(handle, row),
			settle: (handle) => this.settle(handle),
		});
	}

	/** Called after a checkpoint was verified; the operation waits for it, so that what it settles is settled with it. */
	onCheckpointed(listener: (event: CheckpointedEvent) => Promise<void>): void {
		this.#checkpointed.add(listener);
	}

	/** Called just before `/data` is put back from a checkpoint: what was taken after `frozenAt` must be delivered again. */
	onRolledBack(listener: (event: CheckpointedEvent) => Promise<void>): void {
		this.#rolledBack.add(listener);
	}

	onChanged(listener: (row: InstanceRow) => void): void {
		this.#changed.add(listener);
	}

	/** Everything known in this process; recovery loads it all at start. */
	get handles(): readonly InstanceHandle[] {
		return [...this.#handles.values()];
	}

	/** Loads the handle on first use. Throws INSTANCE_NOT_FOUND. */
	async handle(id: InstanceId): Promise<InstanceHandle> {
		const known = this.#handles.get(id);
		if (known !== undefined) return known;
		const row = await this.deps.db.asSystem((tx) => getInstance(tx, id));
		if (row === undefined || row.state === 'destroyed') throw new MvmError('INSTANCE_NOT_FOUND', `no instance ${id}`);
		return this.#remember(row);
	}

	/** Who brings row, journal and host of one instance together; recovery says so at start. */
	settleWith(settle: (handle: InstanceHandle) => Promise<void>): void {
		this.#settle = settle;
	}

	/** One settling at a time of each instance. Throws what keeps it from being settled now. */
	settle(handle: InstanceHandle): Promise<void> {
		handle.settling ??= this.#settle(handle).finally(() => {
			handle.settling = undefined;
		});
		return handle.settling;
	}

	/** Loads all rows at start. */
	async load(): Promise<readonly InstanceHandle[]> {
		const rows = await this.deps.db.asSystem((tx) => listInstances(tx));
		const handles = rows.map((row) => this.#remember(row));
		// Quotas count from the first moment on; an instance whose pool cannot be read counts nothing and is reported by its wake.
		await Promise.all(handles.map((handle) => this.#pool(handle).catch(() => undefined)));
		return handles;
	}

	/** Makes a new instance of a pool: a row, and the host side of it. Ends in `ready`. */
	async create(input: { readonly tenantId: TenantId; readonly poolId: PoolId }, options: OperationOptions): Promise<InstanceRow> {
		const pool = await this.deps.poolOf(input.tenantId, input.poolId);
		const id = newInstanceId(this.deps.random(8));
		this.#admit(input.tenantId, pool, { kind: 'create', pool: input.poolId, dataDiskMib: pool.spec.dataDiskMib });
		const row = await this.deps.db.asTenant(input.tenantId, (tx) => createInstance(tx, { id, ...input }));
		const handle = this.#remember(row);
		await this.#runner.begin(handle, 'create', options, 0, async (ctx) => {
			const prepared = await ctx.step('prepare', () =>
				this.deps.runtime.prepare({ instanceId: id, dataDiskMib: pool.spec.dataDiskMib }, { signal: ctx.signal }),
			);
			return {
				result: undefined,
				outcome: 'ready',
				events: [{ kind: 'image_resolved' }],
				patch: { slot: prepared.slot, image: pool.image.hash, conditions: [...prepared.conditions] },
			};
		});
		return handle.row;
	}

	/** The one door from anything to running. Concurrent callers share one wake. */
	async wake(id: InstanceId, options: OperationOptions): Promise<WakeOutcome> {
		const handle = await this.handle(id);
		const started = this.deps.clock.monotonic();
		for (let turn = 0; turn < MAX_TURNS; turn += 1) {
			options.signal.throwIfAborted();
			if (handle.isServing) return { outcome: 'already-running', totalMs: 0, steps: [] };
			const entered = await this.#runner.enter<WakeOutcome>(handle, 'wake', options);
			if (entered !== undefined) return entered.joined;
			const pool = await this.#pool(handle);
			if (handle.operation !== undefined || handle.needsSettling || handle.isServing) continue;
			if (handle.row.state === 'running') {
				// Its guest is gone, or not back yet from a restart of the daemon: the host says which.
				await joinResult(this.settle(handle), options.signal);
				const patience = AbortSignal.any([options.signal, AbortSignal.timeout(GUEST_BACK_MS)]);
				if (handle.row.state === 'running') await handle.link?.until(['up'], { signal: patience }).catch(() => undefined);
				continue;
			}
			const { vcpus, memMib } = pool.spec;
			this.#admit(
				handle.row.tenantId,
				pool,
				handle.row.state === 'warm' ? { kind: 'thaw', vcpus } : { kind: 'start', vcpus, memMib },
			);
			const outcome = await joinResult<WakeOutcome>(this.#wakeOnce(handle, pool, options), options.signal);
			return { ...outcome, totalMs: this.#since(started) };
		}
		throw new MvmError('WAKE_FAILED', `${id} kept changing while it was woken`);
	}

	/** Fences, checkpoints, drains and freezes. */
	async warm(id: InstanceId, options: OperationOptions): Promise<void> {
		const handle = await this.handle(id);
		if (!(await this.#runner.free(handle, 'warm', options)) || handle.row.state === 'warm') return;
		await this.#runner.begin(handle, 'warm', options, 0, async (ctx) => {
			const pool = await this.#pool(handle);
			await quiesce(this.deps, handle, pool, ctx);
			await freezeInstance(this.deps, handle, pool, ctx);
			return { result: undefined, outcome: 'warm', events: [{ kind: 'frozen' }] };
		});
	}

	/** Puts a running or warm instance to sleep; memory is kept when the pool resumes warm and the host can. */
	async sleep(id: InstanceId, options: OperationOptions & { readonly resume?: 'warm' | 'cold' }): Promise<void> {
		const handle = await this.handle(id);
		if (!(await this.#runner.free(handle, 'sleep', options)) || handle.row.state === 'sleeping') return;
		const started = this.deps.clock.monotonic();
		const outcome = await this.#runner.begin(handle, 'sleep', options, 0, async (ctx) => {
			const pool = await this.#pool(handle);
			const wasRunning = handle.row.state === 'running';
			// A warm instance is fenced, checkpointed and drained already, and frozen since: nothing in it can have changed.
			if (wasRunning) await quiesce(this.deps, handle, pool, ctx);
			const frozenAt = wasRunning
				? await freezeInstance(this.deps, handle, pool, ctx)
				: (handle.row.enteredWarmAt ?? new Date(this.deps.clock.now()));
			const written = await writeManifest(this.deps, handle, frozenAt, ctx);
			await this.#announce(this.#checkpointed, handle, written.checkpointId, frozenAt);
			const keepMemory = (options.resume ?? pool.spec.sleepPolicy.resume) === 'warm';
			ctx.signal.throwIfAborted();
			const hibernated = keepMemory && (await pageOut(this.deps, handle, ctx));
			if (!hibernated) await endTree(this.deps, handle, 0, ctx);
			return {
				result: hibernated ? 'hibernated' : 'cold',
				outcome: hibernated ? 'hibernated' : 'cold',
				events: [...(wasRunning ? [{ kind: 'frozen' } as const] : []), { kind: 'slept', hibernated }],
				patch: { checkpointId: written.checkpointId },
			};
		});
		this.deps.metrics.sleepSeconds.observe({ outcome }, (this.deps.clock.monotonic() - started) / 1000);
	}

	/** Ends the tree, politely unless forced, and checkpoints what it left. */
	async stop(id: InstanceId, options: OperationOptions): Promise<void> {
		const handle = await this.handle(id);
		if (!(await this.#runner.free(handle, 'stop', options)) || handle.row.state === 'stopped') return;
		await this.#runner.begin(handle, 'stop', options, 0, async (ctx) => {
			const pool = await this.#pool(handle);
			const graceMs = ctx.forced
				? 0
				: Math.max(pool.spec.runtimePolicy.gracefulShutdownSeconds, pool.image.workload.stopTimeoutSecs) * 1000;
			await endTree(this.deps, handle, handle.row.state === 'running' ? graceMs : 0, ctx);
			const endedAt = new Date(this.deps.clock.now());
			const written = await this.deps.checkpoints
				.write({ instance: handle.row, frozenAt: endedAt, schemaVersions: {} }, { signal: ctx.signal })
				.catch((error: unknown) => {
					ctx.log.warn({ err: error }, 'no checkpoint of the stopped instance');
					return undefined;
				});
			if (written !== undefined) await this.#announce(this.#checkpointed, handle, written.checkpointId, endedAt);
			return {
				result: undefined,
				outcome: 'stopped',
				events: [{ kind: 'stopped' }],
				...(written === undefined ? {} : { patch: { checkpointId: written.checkpointId } }),
			};
		});
	}

	/** Gives up the memory of a hibernated instance; it stays asleep and its next wake is cold. */
	async dropMemory(id: InstanceId, options: OperationOptions): Promise<void> {
		const handle = await this.handle(id);
		if (!(await this.#runner.free(handle, 'stop', options)) || !handle.row.hibernated) return;
		await this.#runner.begin(handle, 'stop', options, 0, async (ctx) => {
			await endTree(this.deps, handle, 0, ctx);
			return { result: undefined, outcome: 'memory_dropped', events: [{ kind: 'died' }] };
		});
	}

	/** A brief freeze that writes a checkpoint of a running instance. */
	async checkpoint(id: InstanceId, options: OperationOptions): Promise<void> {
		const handle = await this.handle(id);
		if (!(await this.#runner.free(handle, 'checkpoint', options))) return;
		if (handle.row.state !== 'running') throw new MvmError('NOT_RUNNING', `${id} is ${handle.row.state}`);
		await this.#runner.begin(handle, 'checkpoint', options, 0, async (ctx) => {
			const pool = await this.#pool(handle);
			const names = pool.spec.integrations.map((i) => i.name);
			const { link } = handle;
			if (link === undefined) throw new MvmError('LINK_DOWN', 'the guest agent is not connected');
			const agent = new GuestAgent(link);
			const done = await ctx.step('checkpoint_integrations', () => agent.checkpointIntegrations(names, { signal: ctx.signal }));
			if (!done.success) throw new MvmError('CHECKPOINT_FAILED', `integrations did not checkpoint: ${done.failed.join(', ')}`);
			const frozenAt = await freezeInstance(this.deps, handle, pool, ctx);
			const written = await writeManifest(this.deps, handle, frozenAt, ctx);
			ctx.settle();
			await ctx.raiseIncarnation();
			await thawInstance(this.deps, handle, pool, ctx);
			await this.#announce(this.#checkpointed, handle, written.checkpointId, frozenAt);
			return {
				result: undefined,
				outcome: 'checkpointed',
				events: [{ kind: 'thawed', incarnation: ctx.incarnation }],
				patch: { checkpointId: written.checkpointId },
			};
		});
	}

	/** Ends the tree and erases everything of the instance on this host. Never undone. */
	async destroy(id: InstanceId, options: OperationOptions): Promise<void> {
		const handle = await this.handle(id);
		if (!(await this.#runner.free(handle, 'destroy', options)) || handle.row.state === 'destroyed') return;
		await this.#runner.begin(handle, 'destroy', options, 0, async (ctx) => {
			await ctx.step('erase', () => this.deps.runtime.destroy(id, { signal: AbortSignal.timeout(ERASE_MS) }));
			await handle.link?.close();
			handle.link = undefined;
			return { result: undefined, outcome: 'destroyed', events: [{ kind: 'destroyed' }], patch: { slot: null } };
		});
		this.#handles.delete(id);
	}

	/** Wakes the instance when needed and keeps it awake until the returned function is called. */
	async hold(
		id: InstanceId,
		why: HoldReason,
		options: OperationOptions,
	): Promise<{ release: () => void; wake: WakeOutcome; incarnation: number }> {
		const handle = await this.handle(id);
		// Held from now on: who waits for an instance to be awake is a reason not to put it to sleep again.
		const release = handle.hold(why, () => this.deps.clock.now());
		let wake: WakeOutcome = { outcome: 'already-running', totalMs: 0, steps: [] };
		try {
			for (let turn = 0; turn < MAX_TURNS; turn += 1) {
				if (handle.isServing) return { release, wake, incarnation: handle.row.incarnation };
				wake = await this.wake(id, options);
			}
			throw new MvmError('WAKE_FAILED', `${id} went back to sleep ${MAX_TURNS} times before it could be held`);
		} catch (error) {
			release();
			throw error;
		}
	}

	/** A raw byte stream to a loopback port inside a running instance; the caller must hold it awake. */
	async forward(id: InstanceId, port: number, options: { readonly signal: AbortSignal }): Promise<Duplex> {
		const { link } = await this.handle(id);
		if (link === undefined) throw new MvmError('LINK_DOWN', `no link to ${id}`);
		return new GuestAgent(link).forward(port, options);
	}

	/** Counts a message that the instance has proven to have taken. */
	messageTaken(id: InstanceId): void {
		const handle = this.#handles.get(id);
		if (handle !== undefined) handle.takenSinceCheckpoint += 1;
	}

	/** Changes columns that belong to nobody's operation: pin, conditions. */
	async patch(handle: InstanceHandle, patch: InstancePatch): Promise<void> {
		this.setRow(handle, await this.deps.db.asSystem((tx) => updateInstance(tx, handle.id, patch)));
	}

	/** Lets running operations end; sandboxes go on living and are adopted by the next daemon. */
	async close(): Promise<void> {
		await this.#runner.close(this.handles);
		await Promise.all(this.handles.map((handle) => handle.link?.close()));
	}

	/** For recovery, which writes rows of its own. */
	setRow(handle: InstanceHandle, row: InstanceRow): void {
		handle.row = row;
		for (const listener of this.#changed) listener(row);
	}

	#remember(row: InstanceRow): InstanceHandle {
		const known = this.#handles.get(row.id);
		if (known !== undefined) return known;
		const handle = new InstanceHandle(row);
		this.#handles.set(row.id, handle);
		for (const listener of this.#changed) listener(row);
		return handle;
	}

	async #pool(handle: InstanceHandle): Promise<PoolView> {
		const pool = await this.deps.poolOf(handle.row.tenantId, handle.row.poolId);
		handle.size = pool.spec;
		return pool;
	}

	#since(startedMs: number): number {
		return Math.round((this.deps.clock.monotonic() - startedMs) * 10) / 10;
	}

	/** The one commit point of quotas: nothing awaits between this look and the claim that makes it true. */
	#admit(tenantId: TenantId, pool: PoolView, request: QuotaRequest): void {
		const items = this.handles
			.filter((h) => h.row.tenantId === tenantId)
			.map((h) => ({
				pool: h.row.poolId,
				state: h.row.state,
				isComingUp: h.operation?.kind === 'start' || h.operation?.kind === 'wake',
				vcpus: h.size?.vcpus ?? 0,
				memMib: h.size?.memMib ?? 0,
				dataDiskMib: h.size?.dataDiskMib ?? 0,
			}));
		const answer = admit(pool.quotas, usageOf(items, 0), request);
		if (answer.admitted) return;
		throw new MvmError('QUOTA_EXCEEDED', `tenant ${tenantId} is over quota: ${answer.message}`, {
			details: { excess: answer.excess },
		});
	}

	#wakeOnce(handle: InstanceHandle, pool: PoolView, options: OperationOptions): Promise<WakeOutcome> {
		const kind = ['created', 'ready', 'stopped'].includes(handle.row.state) ? 'start' : 'wake';
		const started = this.deps.clock.monotonic();
		return this.#runner.begin<WakeOutcome>(handle, kind, options, 1, async (ctx) => {
			const hasMemory = handle.row.state === 'warm' || handle.row.hibernated;
			const wasHibernated = handle.row.hibernated;
			let events: readonly InstanceEvent[] = [];
			let patch: InstancePatch;
			let outcome: WakeOutcome['outcome'];
			const thawed = hasMemory ? await this.#thawOrEnd(handle, pool, ctx) : undefined;
			if (thawed !== undefined) {
				outcome = 'resumed';
				events = [{ kind: wasHibernated ? 'woken' : 'thawed', incarnation: ctx.incarnation }];
				patch = { secretsEpoch: thawed.secretsEpoch };
			} else {
				if (hasMemory) events = [{ kind: 'died' }];
				// A create that failed after its row was written left it here: it has an image by now.
				if (handle.row.state === 'created') events = [{ kind: 'image_resolved' }];
				const booted = await bootInstance(this.deps, handle, pool, ctx, ({ checkpointId, frozenAt }) =>
					this.#announce(this.#rolledBack, handle, checkpointId, frozenAt),
				);
				outcome = 'cold-boot';
				events = [...events, { kind: 'booted', incarnation: ctx.incarnation }];
				patch = { slot: booted.slot, image: booted.image, secretsEpoch: booted.secretsEpoch };
				if (booted.restoredFrom !== undefined) {
					const { checkpointId } = booted.restoredFrom;
					await this.#recordRestored(handle, booted.restoredFrom, ctx.traceId);
					patch = { ...patch, checkpointId, dataGeneration: handle.row.dataGeneration + 1 };
				}
			}
			const totalMs = this.#since(started);
			this.deps.metrics.wakeSeconds.observe({ outcome }, totalMs / 1000);
			return {
				result: { outcome, totalMs, steps: ctx.steps },
				outcome,
				events,
				patch: { ...patch, failures: 0, backoffUntil: null },
			};
		});
	}

	/** The frozen tree runs again; undefined when it could not and was ended, so that a cold boot may follow. */
	async #thawOrEnd(handle: InstanceHandle, pool: PoolView, ctx: OperationContext): Promise<{ secretsEpoch: number } | undefined> {
		try {
			return await thawInstance(this.deps, handle, pool, ctx);
		} catch (error) {
			ctx.signal.throwIfAborted();
			ctx.log.warn({ err: error }, 'memory could not be resumed, booting cold');
			await this.deps.runtime.stop({ instanceId: handle.id, graceMs: 0 }, { signal: ctx.signal });
			await ctx.raiseIncarnation();
			return undefined;
		}
	}

	async #recordRestored(
		handle: InstanceHandle,
		restored: NonNullable<BootResult['restoredFrom']>,
		traceId: string,
	): Promise<void> {
		const { tenantId, poolId } = handle.row;
		await this.deps.record({
			tenantId,
			poolId,
			instanceId: handle.id,
			actor: 'lifecycle',
			action: 'data_restored',
			target: handle.id,
			outcome: restored.skipped.length === 0 ? 'ok' : 'fallback',
			detail: { checkpoint_id: restored.checkpointId, frozen_at: restored.frozenAt.toISOString(), skipped: restored.skipped },
			traceId,
		});
	}

	async #announce(
		listeners: ReadonlySet<(event: CheckpointedEvent) => Promise<void>>,
		handle: InstanceHandle,
		checkpointId: string,
		frozenAt: Date,
	): Promise<void> {
		handle.takenSinceCheckpoint = 0;
		handle.sleepFailures = 0;
		handle.sleepRetryAtMs = 0;
		handle.lastCheckpointAtMs = this.deps.clock.now();
		for (const listener of listeners) {
			await listener({ instanceId: handle.id, tenantId: handle.row.tenantId, checkpointId, frozenAt });
		}
	}
}
