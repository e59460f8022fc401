// From a quiet instance to one at rest: freeze, write and verify the manifest, page out or end; and the way back up.
import { isMvmError, MvmError } from '@mvm/protocol';
import type { LifecycleDeps, PoolView, WrittenCheckpoint } from '../deps.ts';
import type { InstanceHandle } from '../instance-handle.ts';
import type { OperationContext } from '../operation-context.ts';
import { thawInstance } from './thaw.ts';

/** Freezes the tree. When a later step fails it is thawed as a new incarnation and re-identified. */
export async function freezeInstance(
	deps: LifecycleDeps,
	handle: InstanceHandle,
	pool: PoolView,
	ctx: OperationContext,
): Promise<Date> {
	const frozenAt = new Date(deps.clock.now());
	ctx.onFailure('thaw', async () => {
		await ctx.raiseIncarnation();
		await thawInstance(deps, handle, pool, ctx);
	});
	await ctx.step('freeze', () => deps.runtime.freeze(handle.id, { signal: ctx.signal }));
	return frozenAt;
}

/** Writes the `/data` manifest of a frozen or ended tree, fsynced and verified. */
export async function writeManifest(
	deps: LifecycleDeps,
	handle: InstanceHandle,
	frozenAt: Date,
	ctx: OperationContext,
): Promise<WrittenCheckpoint> {
	const written = await ctx.step('write_manifest', () =>
		deps.checkpoints.write({ instance: handle.row, frozenAt, schemaVersions: {} }, { signal: ctx.signal }),
	);
	if (written.refused.length > 0) {
		const { tenantId, poolId } = handle.row;
		await deps.record({
			tenantId,
			poolId,
			instanceId: handle.id,
			actor: 'lifecycle',
			action: 'checkpoint_left_out',
			target: handle.id,
			outcome: 'partial',
			detail: { refused: written.refused.slice(0, 50), count: written.refused.length },
			traceId: ctx.traceId,
		});
	}
	return written;
}

/** Pages the frozen tree out. False when this host cannot now; nothing has changed then. */
export async function pageOut(deps: LifecycleDeps, handle: InstanceHandle, ctx: OperationContext): Promise<boolean> {
	try {
		const result = await ctx.step('snapshot', () => deps.runtime.snapshot(handle.id, { signal: ctx.signal }));
		ctx.log.info(
			{
				charged_before_bytes: result.chargedBeforeBytes,
				charged_after_bytes: result.chargedAfterBytes,
				swap_bytes: result.swapBytes,
			},
			'instance paged out',
		);
		return true;
	} catch (error) {
		if (!isMvmError(error, 'SNAPSHOT_UNAVAILABLE') && !isMvmError(error, 'UNSUPPORTED')) throw error;
		ctx.log.warn({ err: error }, 'memory snapshot unavailable, sleeping cold');
		return false;
	}
}

/** Ends the tree and checks that nothing of it is left. */
export async function endTree(
	deps: LifecycleDeps,
	handle: InstanceHandle,
	graceMs: number,
	ctx: OperationContext,
): Promise<void> {
	const observed = await ctx.step('stop_tree', () =>
		deps.runtime.stop({ instanceId: handle.id, graceMs }, { signal: ctx.signal }),
	);
	if (observed.state === 'running' || observed.state === 'frozen') {
		throw new MvmError('INTERNAL', `the runtime says that ${handle.id} is still ${observed.state} after stop`);
	}
}
