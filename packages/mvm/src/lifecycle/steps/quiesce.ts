// Brings a running instance to rest: integrations checkpointed, work drained, lease verified. Freezing comes after.
import { MvmError } from '@mvm/protocol';
import type { LifecycleDeps, PoolView } from '../deps.ts';
import { GuestAgent } from '../guest-agent.ts';
import type { InstanceHandle } from '../instance-handle.ts';
import type { OperationContext } from '../operation-context.ts';

/**
 * Throws CHECKPOINT_FAILED when a critical integration did not checkpoint, SLEEP_ABORTED when the guest would not drain.
 * With `ctx.forced` both are recorded and passed over. The guest is woken again when a later step fails.
 */
export async function quiesce(deps: LifecycleDeps, handle: InstanceHandle, pool: PoolView, ctx: OperationContext): Promise<void> {
	const { link } = handle;
	if (link === undefined || link.state !== 'up') throw new MvmError('LINK_DOWN', 'the guest agent is not connected');
	const agent = new GuestAgent(link);
	const drainSecs = pool.spec.runtimePolicy.drainTimeoutSeconds;
	const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(drainSecs * 1000 + 30_000)]);
	ctx.onFailure('wake the guest again', () => agent.wake({ signal: AbortSignal.timeout(deps.limits.linkTimeoutMs) }));
	const names = pool.spec.integrations.map((integration) => integration.name);
	const checkpointed = await ctx.step('checkpoint_integrations', () => agent.checkpointIntegrations(names, { signal }));
	const critical = new Set<string>(pool.spec.integrations.filter((i) => i.critical).map((i) => i.name));
	const blocking = checkpointed.failed.filter((name) => critical.has(name));
	if (blocking.length > 0) {
		const message = `critical integration ${blocking.join(', ')} did not checkpoint`;
		const detail = { failed: checkpointed.failed, detail: checkpointed.detail, forced: ctx.forced };
		await record(deps, handle, ctx, 'checkpoint_failed', ctx.forced ? 'overridden' : 'refused', detail);
		if (!ctx.forced) {
			throw new MvmError('CHECKPOINT_FAILED', `${message}: ${checkpointed.detail ?? 'no detail'}`, {
				details: detail,
				hint: 'the instance keeps running; mvm instance sleep --force overrides and is recorded',
			});
		}
	}
	const prepared = await ctx.step('sleep_prep', () => agent.sleepPrep(drainSecs, { signal }));
	if (!prepared.success) {
		const detail = { detail: prepared.detail, forced: ctx.forced };
		await record(deps, handle, ctx, 'drain_refused', ctx.forced ? 'overridden' : 'refused', detail);
		if (!ctx.forced)
			throw new MvmError('SLEEP_ABORTED', `the guest did not drain: ${prepared.detail ?? 'no detail'}`, { details: detail });
	}
}

async function record(
	deps: LifecycleDeps,
	handle: InstanceHandle,
	ctx: OperationContext,
	action: string,
	outcome: string,
	detail: Readonly<Record<string, unknown>>,
): Promise<void> {
	const { tenantId, poolId } = handle.row;
	await deps.record({
		tenantId,
		poolId,
		instanceId: handle.id,
		actor: 'lifecycle',
		action,
		target: handle.id,
		outcome,
		detail,
		traceId: ctx.traceId,
	});
}
