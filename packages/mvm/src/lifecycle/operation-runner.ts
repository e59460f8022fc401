// Runs operations: claim, journaled steps, finish or take back; joining, aborting and waiting between callers. Knows nothing of
// what an operation does. Used by lifecycle.ts only; the one place that closes operations besides recovery.
import { isMvmError, MvmError, newOperationId } from '@mvm/protocol';
import type { InstanceEvent } from '../domain/instance-state.ts';
import { isPastNoReturn, joinable, type OperationKind } from '../domain/operation.ts';
import type { Observed } from '../ports/runtime.ts';
import {
	claimOperation,
	finishOperation,
	type InstancePatch,
	type InstanceRow,
	raiseIncarnation,
	stepOperation,
} from '../state/index.ts';
import type { LifecycleDeps } from './deps.ts';
import { failurePatch } from './failure.ts';
import type { InstanceHandle, RunningOperation } from './instance-handle.ts';
import { lifePatch } from './life-patch.ts';
import { OperationContext } from './operation-context.ts';
import { waitEnded } from './wait-ended.ts';

const MAX_TURNS = 16;
const UNDO_MS = 60_000;
const LONGEST_MS = 3_600_000;

export interface OperationOptions {
	/** Why, for journal, audit and logs: `message`, `request`, `policy`, `operator`, … */
	readonly reason: string;
	readonly traceId: string;
	/** The caller's own patience; the operation itself goes on for others. */
	readonly signal: AbortSignal;
	readonly forced?: boolean;
}

/** What an operation's body hands back: its result, the events that happened, and further columns. */
export interface Done<T> {
	readonly result: T;
	readonly outcome: string;
	readonly events: readonly InstanceEvent[];
	readonly patch?: InstancePatch;
}

export class OperationRunner {
	readonly deps: LifecycleDeps;
	#closed = false;
	readonly #setRow: (handle: InstanceHandle, row: InstanceRow) => void;
	readonly #settle: (handle: InstanceHandle) => Promise<void>;

	/** `settle` brings row, journal and host of an instance together after an operation was cut off. */
	constructor(
		deps: LifecycleDeps,
		effects: {
			readonly setRow: (handle: InstanceHandle, row: InstanceRow) => void;
			readonly settle: (handle: InstanceHandle) => Promise<void>;
		},
	) {
		this.deps = deps;
		this.#setRow = effects.setRow;
		this.#settle = effects.settle;
	}

	/** Aborts what is before its point of no return, waits for the rest; nothing starts any more. */
	async close(handles: readonly InstanceHandle[]): Promise<void> {
		this.#closed = true;
		for (const { operation } of handles) {
			if (operation !== undefined && !isPastNoReturn(operation.kind, operation.step)) {
				operation.abort.abort(new MvmError('CANCELLED', 'the platform is shutting down'));
			}
		}
		await Promise.all(handles.map((handle) => handle.operation?.ended));
	}

	/** True once nothing is in progress; false when an operation that does the same was joined instead. */
	async free(handle: InstanceHandle, kind: OperationKind, options: OperationOptions): Promise<boolean> {
		for (let turn = 0; turn < MAX_TURNS; turn += 1) {
			if (handle.operation === undefined && !handle.needsSettling) return true;
			if ((await this.enter<unknown>(handle, kind, options)) !== undefined) return false;
		}
		throw new MvmError('OPERATION_IN_PROGRESS', `${handle.id} kept being operated on`);
	}

	/** One look at what is in flight: joins it, makes room for us (undefined: look again), or throws OPERATION_IN_PROGRESS. */
	async enter<T>(handle: InstanceHandle, kind: OperationKind, options: OperationOptions): Promise<{ joined: T } | undefined> {
		const { operation } = handle;
		if (operation === undefined) {
			if (handle.needsSettling) await joinResult(this.#settle(handle), options.signal);
			return undefined;
		}
		switch (joinable(kind, { kind: operation.kind, pastNoReturn: isPastNoReturn(operation.kind, operation.step) })) {
			case 'join':
				return { joined: await joinResult<T>(operation.result, options.signal) };
			case 'abort_then_run':
				operation.abort.abort(new MvmError('SLEEP_ABORTED', `aborted by ${options.reason}`));
				await waitEnded(operation.ended, options.signal);
				return undefined;
			case 'wait_then_run':
				await waitEnded(operation.ended, options.signal);
				return undefined;
			case 'refuse':
				throw new MvmError('OPERATION_IN_PROGRESS', `${handle.id}: ${kind} cannot run while ${operation.kind} does`, {
					details: { in_flight: operation.kind, step: operation.step },
				});
		}
	}

	/** Starts an operation in this very tick, so that nobody else can. The promise is its result. */
	begin<T>(
		handle: InstanceHandle,
		kind: OperationKind,
		options: OperationOptions,
		newIncarnations: 0 | 1,
		body: (ctx: OperationContext) => Promise<Done<T>>,
	): Promise<T> {
		if (this.#closed) return Promise.reject(new MvmError('CANCELLED', 'the platform is shutting down'));
		if (handle.operation !== undefined || handle.needsSettling)
			return Promise.reject(new MvmError('OPERATION_IN_PROGRESS', `${handle.id} is being operated on`));
		const { promise: ended, resolve: end } = Promise.withResolvers<void>();
		const abort = new AbortController();
		const { promise: result, resolve, reject } = Promise.withResolvers<T>();
		result.catch(() => {}); // observed by whoever waits; nobody waiting is fine
		const operation: RunningOperation = { kind, startedAtMs: this.deps.clock.now(), ended, result, abort, step: 'claim' };
		handle.operation = operation;
		const finish = (settle: () => void): void => {
			handle.operation = undefined;
			settle();
			end();
		};
		this.#execute(handle, operation, options, newIncarnations, body).then(
			(value) => finish(() => resolve(value)),
			(error: unknown) => finish(() => reject(error)),
		);
		return result;
	}

	async #execute<T>(
		handle: InstanceHandle,
		operation: RunningOperation,
		options: OperationOptions,
		newIncarnations: 0 | 1,
		body: (ctx: OperationContext) => Promise<Done<T>>,
	): Promise<T> {
		const { db, clock, metrics } = this.deps;
		const { kind } = operation;
		const operationId = newOperationId(this.deps.random(8));
		const { tenantId } = handle.row;
		const log = this.deps.log.child({
			tenant_id: tenantId,
			instance_id: handle.id,
			operation_id: operationId,
			trace_id: options.traceId,
		});
		const deadline = AbortSignal.timeout(kind === 'wake' || kind === 'start' ? this.deps.limits.wakeTimeoutMs : LONGEST_MS);
		const signal = AbortSignal.any([operation.abort.signal, deadline]);
		const claim = {
			operationId,
			instanceId: handle.id,
			expectedVersion: handle.row.version,
			kind,
			step: 'claim',
			newIncarnations,
			reason: options.reason,
			forced: options.forced ?? false,
			traceId: options.traceId,
		} as const;
		try {
			this.#setRow(handle, await db.asSystem((tx) => claimOperation(tx, claim), { idempotent: true }));
		} catch (error) {
			handle.needsSettling = true; // it may be claimed all the same, or the row is not what was thought
			throw error;
		}
		const before = handle.row;
		const ctx = new OperationContext({
			operationId,
			incarnation: before.incarnation,
			traceId: options.traceId,
			forced: options.forced ?? false,
			clock,
			log,
			signal,
			journal: (step) => db.asSystem((tx) => stepOperation(tx, { operationId, step }), { idempotent: true }),
			raiseIncarnation: () => db.asSystem((tx) => raiseIncarnation(tx, operationId)),
			onStep: (step) => {
				operation.step = step;
			},
		});
		let isDone = false;
		try {
			const done = await body(ctx);
			const patch = { ...done.patch, ...lifePatch(handle.row, done.events, clock.now()) };
			isDone = true;
			this.#setRow(
				handle,
				await db.asSystem(
					(tx) =>
						finishOperation(tx, {
							operationId,
							instanceId: handle.id,
							outcome: done.outcome,
							detail: { steps: ctx.steps },
							patch,
						}),
					{ idempotent: true },
				),
			);
			metrics.operations.inc({ kind, outcome: done.outcome });
			log.info(
				{ kind, outcome: done.outcome, reason: options.reason, state: handle.row.state, steps: ctx.steps },
				'operation finished',
			);
			const totalMs = clock.now() - operation.startedAtMs;
			await this.#record(handle, kind, 'ok', options, {
				outcome: done.outcome,
				reason: options.reason,
				total_ms: totalMs,
				steps: ctx.steps,
			});
			return done.result;
		} catch (error) {
			const failure = explain(error, deadline, kind);
			try {
				// What was done and could not be written down is not taken back: recovery finds it done.
				if (isDone) handle.needsSettling = true;
				else await this.#takeBack(handle, operationId, ctx, kind, failure);
			} catch (err) {
				handle.needsSettling = true;
				log.error({ err, kind }, 'the store is not reachable, operation left for recovery');
			}
			metrics.operations.inc({ kind, outcome: failure.code });
			log.warn({ kind, err: failure, reason: options.reason, state: handle.row.state }, 'operation failed');
			await this.#record(handle, kind, failure.code, options, {
				reason: options.reason,
				message: failure.message,
				...failure.details,
			});
			throw failure;
		}
	}

	/** After a failure: undo, look at what the host shows, and let the row say just that. */
	async #takeBack(
		handle: InstanceHandle,
		operationId: Parameters<typeof finishOperation>[1]['operationId'],
		ctx: OperationContext,
		kind: OperationKind,
		failure: MvmError,
	): Promise<void> {
		const { db, runtime, clock, metrics } = this.deps;
		const undone = await ctx.undo(UNDO_MS);
		let observed: Observed | undefined;
		try {
			if (!undone) await runtime.stop({ instanceId: handle.id, graceMs: 0 }, { signal: AbortSignal.timeout(UNDO_MS) });
			observed = await runtime.inspect(handle.id, { signal: AbortSignal.timeout(UNDO_MS) });
		} catch (error) {
			// The host cannot be asked: leave the operation open, so that recovery settles it when it can.
			ctx.log.error({ err: error }, 'host not reachable, operation left for recovery');
			handle.needsSettling = true;
			return;
		}
		const isStart = kind === 'wake' || kind === 'start';
		if (isStart) metrics.startupFailures.inc({ code: failure.code });
		const patch = failurePatch({ row: handle.row, observed, incarnation: ctx.incarnation, nowMs: clock.now(), isStart, failure });
		const finish = {
			operationId,
			instanceId: handle.id,
			outcome: 'failed',
			error: { code: failure.code, message: failure.message },
			detail: { steps: ctx.steps, ...failure.details },
			patch,
		};
		const row = await db.asSystem((tx) => finishOperation(tx, finish), { idempotent: true });
		this.#setRow(handle, row);
	}

	async #record(
		handle: InstanceHandle,
		kind: OperationKind,
		outcome: string,
		options: OperationOptions,
		detail: Readonly<Record<string, unknown>>,
	): Promise<void> {
		const { tenantId, poolId } = handle.row;
		const entry = {
			tenantId,
			poolId,
			instanceId: handle.id,
			actor: options.reason,
			action: `instance_${kind}`,
			target: handle.id,
		};
		await this.deps
			.record({
				...entry,
				outcome,
				detail: { ...detail, state: handle.row.state, forced: options.forced ?? false },
				traceId: options.traceId,
			})
			.catch((error: unknown) => this.deps.log.error({ err: error, ...entry }, 'audit record not written'));
	}
}

/** Shares a result; the waiter's own signal ends only its own waiting. */
export async function joinResult<T>(result: Promise<unknown>, signal: AbortSignal): Promise<T> {
	await waitEnded(
		result.then(
			() => undefined,
			() => undefined,
		),
		signal,
	);
	return (await result) as T;
}

/** The error people see; a deadline is named as one. */
function explain(error: unknown, deadline: AbortSignal, kind: OperationKind): MvmError {
	if (deadline.aborted && error === deadline.reason)
		return new MvmError('WAKE_TIMEOUT', `${kind} took longer than its deadline`, { cause: error });
	if (isMvmError(error)) return error;
	return new MvmError('INTERNAL', `${kind} failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
