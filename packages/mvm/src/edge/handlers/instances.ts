// Instances, what is done to them, and what is known about them. Waking goes through the orchestrator like everything
// from outside; the rest are operations of lifecycle.
import { type InstanceView, MvmError, parseCheckpointId, parseOperationId, type WakeResult } from '@mvm/protocol';
import { getTenant, readOperation, readOperations } from '../../state/index.ts';
import type { ApiContext, Handlers } from '../api-types.ts';
import type { ActionOptions, ControlDeps, InstanceFacts } from '../control-deps.ts';
import { visibleTenant } from '../follow-events.ts';
import { toInstanceStats, toInstanceView, toOperationView } from '../views.ts';
import { asPrincipal, auditAct, limitOf, requireTenant, visibleInstance } from './common.ts';

type InstanceHandlers = Pick<
	Handlers,
	| 'instance.create'
	| 'instance.list'
	| 'instance.get'
	| 'instance.start'
	| 'instance.wake'
	| 'instance.warm'
	| 'instance.sleep'
	| 'instance.stop'
	| 'instance.destroy'
	| 'instance.logs'
	| 'instance.stats'
	| 'checkpoint.list'
	| 'checkpoint.verify'
	| 'operation.list'
	| 'operation.get'
>;
interface ActionInput {
	readonly params: { readonly instance: string };
	readonly body: { readonly force: boolean; readonly timeoutSecs?: number | undefined };
}

/** A list asks the host about at most so many instances; the others are shown without memory. */
const OBSERVED_IN_LIST = 50;
const DEFAULT_TAIL_BYTES = 64 * 1024;

export function instanceHandlers(deps: ControlDeps): InstanceHandlers {
	const show = async (context: ApiContext, row: InstanceFacts): Promise<InstanceView> => {
		const observation = await deps.observe(row.id, context).catch(() => undefined); // the host may be away
		const [operation] = await asPrincipal(deps, context.principal, (tx) =>
			readOperations(tx, { instanceId: row.id, isOpen: true, limit: 1 }),
		);
		return toInstanceView(row, { observation, operation });
	};
	const optionsOf = (context: ApiContext, body: ActionInput['body']): ActionOptions => ({
		reason: 'operator',
		traceId: context.traceId,
		forced: body.force,
		signal:
			body.timeoutSecs === undefined
				? context.signal
				: AbortSignal.any([context.signal, AbortSignal.timeout(body.timeoutSecs * 1000)]),
	});
	const act = async (context: ApiContext, input: ActionInput, verb: 'warm' | 'sleep' | 'stop') => {
		const row = await visibleInstance(deps, context.principal, input.params.instance);
		await timed(input, `${verb} of ${row.id}`, () => deps.actions[verb](row.id, optionsOf(context, input.body)));
		await audit(context, row, `instance.${verb}`, { forced: input.body.force });
		return { instance: await show(context, await visibleInstance(deps, context.principal, row.id)), operationId: null };
	};
	const wake = async (context: ApiContext, input: ActionInput, verb: 'start' | 'wake'): Promise<WakeResult> => {
		const row = await visibleInstance(deps, context.principal, input.params.instance);
		const { tenantId, poolId, id: instanceId } = row;
		const { signal } = optionsOf(context, input.body);
		const acquired = { tenantId, poolId, instanceId, why: 'operator', traceId: context.traceId } as const;
		await using lease = await timed(input, `${verb} of ${row.id}`, () => deps.orchestrator.acquire(acquired, { signal }));
		await audit(context, row, `instance.${verb}`, { outcome: lease.wake.outcome });
		return { instance: await show(context, await visibleInstance(deps, context.principal, row.id)), wake: lease.wake };
	};
	const audit = (context: ApiContext, row: InstanceFacts, action: string, detail: Record<string, unknown>): Promise<void> =>
		deps.db.asTenant(row.tenantId, (tx) =>
			auditAct(deps, tx, context, { tenantId: row.tenantId, action, target: `instance/${row.id}`, detail }),
		);
	return {
		'instance.create': async (context, { body }) => {
			requireTenant(context, body.tenantId);
			await deps.db.asTenant(body.tenantId, (tx) => getTenant(tx, body.tenantId));
			const { id } = await deps.actions.create(body, optionsOf(context, { force: false }));
			const row = await visibleInstance(deps, context.principal, id);
			await audit(context, row, 'instance.create', {});
			return show(context, row);
		},
		'instance.list': async (context, { query }) => {
			const tenantId = visibleTenant(context.principal, query.tenantId);
			const filter = {
				...(tenantId === undefined ? {} : { tenantId }),
				...(query.poolId === undefined ? {} : { poolId: query.poolId }),
			};
			const all = await asPrincipal(deps, context.principal, (tx) => deps.instances.list(tx, filter));
			const rows = all.filter((row) => query.state === undefined || row.state === query.state);
			const items = rows.map((row, at) => (at < OBSERVED_IN_LIST ? show(context, row) : toInstanceView(row)));
			return { items: await Promise.all(items), next: null };
		},
		'instance.get': async (context, { params }) => show(context, await visibleInstance(deps, context.principal, params.instance)),
		'instance.start': (context, input) => wake(context, input, 'start'),
		'instance.wake': (context, input) => wake(context, input, 'wake'),
		'instance.warm': (context, input) => act(context, input, 'warm'),
		'instance.sleep': (context, input) => act(context, input, 'sleep'),
		'instance.stop': (context, input) => act(context, input, 'stop'),
		'instance.destroy': async (context, { params }) => {
			const row = await visibleInstance(deps, context.principal, params.instance);
			await deps.actions.destroy(row.id, optionsOf(context, { force: true }));
			await audit(context, row, 'instance.destroy', {});
			return {};
		},
		'instance.logs': async (context, { params, query }) => {
			const row = await visibleInstance(deps, context.principal, params.instance);
			const tailBytes = query.tailBytes === undefined ? DEFAULT_TAIL_BYTES : Number(query.tailBytes);
			return { instanceId: row.id, text: await deps.logs({ instanceId: row.id, tailBytes }, context) };
		},
		'instance.stats': async (context, { params }) => {
			const row = await visibleInstance(deps, context.principal, params.instance);
			const { runtime } = await deps.observe(row.id, context);
			return toInstanceStats(row, runtime, await deps.supervisor(row.id, context));
		},
		'checkpoint.list': async (context, { params }) => {
			const row = await visibleInstance(deps, context.principal, params.instance);
			const items = await asPrincipal(deps, context.principal, (tx) => deps.checkpoints.list(tx, row.id));
			return { items, next: null };
		},
		'checkpoint.verify': (context, { params }) => {
			const id = parseCheckpointId(params.checkpoint);
			return deps.checkpoints.verify(visibleTenant(context.principal, undefined), id, context);
		},
		'operation.list': async (context, { query }) => {
			const tenantId = visibleTenant(context.principal, query.tenantId);
			const isOpen = query.open === undefined ? undefined : query.open === 'true';
			const filter = { tenantId, instanceId: query.instanceId, isOpen, limit: limitOf(query.limit) };
			const rows = await asPrincipal(deps, context.principal, (tx) => readOperations(tx, filter));
			return { items: rows.map(toOperationView), next: null };
		},
		'operation.get': async (context, { params }) => {
			const id = parseOperationId(params.operation);
			return toOperationView(await asPrincipal(deps, context.principal, (tx) => readOperation(tx, id)));
		},
	};
}

/** The caller's own patience ends with TIMEOUT; the operation itself may go on. */
async function timed<T>(input: ActionInput, what: string, run: () => Promise<T>): Promise<T> {
	try {
		return await run();
	} catch (error) {
		if (!(error instanceof Error) || error.name !== 'TimeoutError') throw error;
		throw new MvmError('TIMEOUT', `${what} did not end within ${input.body.timeoutSecs} s; it may still go on`, {
			cause: error,
			hint: 'mvm instance info shows the operation',
		});
	}
}
