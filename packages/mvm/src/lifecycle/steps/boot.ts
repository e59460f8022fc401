// Cold path: prepare the host side, put `/data` and secrets in place, start the sandbox, bring the guest to readiness.
import { type InstanceId, MvmError } from '@mvm/protocol';
import type { Observed } from '../../ports/runtime.ts';
import type { LifecycleDeps, PoolView, RestoredFrom } from '../deps.ts';
import { GuestAgent } from '../guest-agent.ts';
import type { InstanceHandle } from '../instance-handle.ts';
import type { OperationContext } from '../operation-context.ts';
import { waitReady } from './ready.ts';
import { deliverSecrets } from './secrets.ts';

const PIDS_MAX = 512;
/** How often a sandbox is looked at while its guest has not dialled in. */
const LOOK_MS = 1_000;

export interface BootResult {
	readonly slot: number;
	readonly image: string;
	readonly secretsEpoch: number;
	/** Set when `/data` had to be put back from a checkpoint. */
	readonly restoredFrom?: { readonly checkpointId: string; readonly frozenAt: Date; readonly skipped: readonly string[] };
}

/** Boots the incarnation that `ctx` claimed. Everything it did is taken back when a later step fails. */
export async function bootInstance(
	deps: LifecycleDeps,
	handle: InstanceHandle,
	pool: PoolView,
	ctx: OperationContext,
	onRestoring: (chosen: RestoredFrom) => Promise<void>,
): Promise<BootResult> {
	const { runtime, links } = deps;
	const { signal } = ctx;
	const id = handle.id;
	const prepared = await ctx.step('prepare', () =>
		runtime.prepare({ instanceId: id, dataDiskMib: pool.spec.dataDiskMib }, { signal }),
	);
	const restoredFrom =
		prepared.dataFresh && handle.row.checkpointId !== null ? await restoreData(deps, handle, pool, ctx, onRestoring) : undefined;
	const secretsEpoch = await ctx.step('secrets', () => deliverSecrets(deps, handle.id, pool, signal), { journal: false });
	const identity = { incarnation: ctx.incarnation, token: deps.tokenFor(id, ctx.incarnation) };
	if (handle.link === undefined) {
		handle.link = await links.open({ instanceId: id, linkDir: prepared.linkDir, identity, handlers: deps.handlers });
	} else handle.link.expect(identity);
	const link = handle.link;
	ctx.onFailure('stop the sandbox', async () => {
		await runtime.stop({ instanceId: id, graceMs: 0 }, { signal: AbortSignal.timeout(30_000) });
	});
	await ctx.step('boot', () =>
		runtime.boot(
			{
				instanceId: id,
				incarnation: ctx.incarnation,
				token: identity.token,
				image: pool.image.hash,
				vcpus: pool.spec.vcpus,
				memMib: pool.spec.memMib,
				pidsMax: PIDS_MAX,
				config: deps.guestConfigOf({ ...handle.row, incarnation: ctx.incarnation }, pool),
			},
			{ signal },
		),
	);
	await ctx.step('link', () => linkUp(deps, handle, signal));
	const agent = new GuestAgent(link);
	await ctx.step('post_restore', () => agent.postRestore(postRestoreOf(deps, identity, secretsEpoch), { signal }), {
		journal: false,
	});
	await ctx.step('wake_guest', () => agent.wake({ signal }), { journal: false });
	await ctx.step('ready', () => waitReady(deps, agent, pool, signal), { journal: false });
	return { slot: prepared.slot, image: pool.image.hash, secretsEpoch, ...(restoredFrom === undefined ? {} : { restoredFrom }) };
}

/** The message every boot, thaw, wake and restore sends first. */
export function postRestoreOf(
	deps: LifecycleDeps,
	identity: { readonly incarnation: number; readonly token: string },
	secretsEpoch: number,
): Parameters<GuestAgent['postRestore']>[0] {
	return { ...identity, nowMs: deps.clock.now(), secretsEpoch, reseed: Buffer.from(deps.random(32)).toString('base64url') };
}

async function restoreData(
	deps: LifecycleDeps,
	handle: InstanceHandle,
	pool: PoolView,
	ctx: OperationContext,
	onChosen: (chosen: RestoredFrom) => Promise<void>,
): Promise<BootResult['restoredFrom']> {
	const allowFallback = pool.spec.integrations.every((integration) => integration.rollback !== 'never');
	return ctx.step('restore_data', () => deps.checkpoints.restore(handle.row, { allowFallback, signal: ctx.signal, onChosen }));
}

/** Waits for the guest to dial in; when its sandbox ends first, that is the error, with its last log lines. */
async function linkUp(deps: LifecycleDeps, handle: InstanceHandle, signal: AbortSignal): Promise<void> {
	const deadline = AbortSignal.any([signal, AbortSignal.timeout(deps.limits.linkTimeoutMs)]);
	for (;;) {
		try {
			await handle.link?.until(['up'], { signal: AbortSignal.any([deadline, AbortSignal.timeout(LOOK_MS)]) });
			return;
		} catch (error) {
			signal.throwIfAborted();
			const observed = await deps.runtime.inspect(handle.id, { signal });
			if (observed?.state === 'running' && !deadline.aborted) continue;
			throw await notConnected(deps, handle.id, { error, observed, signal });
		}
	}
}

async function notConnected(
	deps: LifecycleDeps,
	id: InstanceId,
	{ error, observed, signal }: { readonly error: unknown; readonly observed: Observed | undefined; readonly signal: AbortSignal },
): Promise<MvmError> {
	const log = await deps.runtime.logs({ instanceId: id, tailBytes: 2048 }, { signal });
	return new MvmError(
		'WAKE_FAILED',
		observed?.state === 'running' ? 'the guest agent did not connect' : 'the sandbox ended during start',
		{
			cause: error,
			details: { state: observed?.state, exit_code: observed?.exitCode, last_log_lines: log.split('\n').slice(-20) },
			hint: 'mvm instance logs shows the console',
		},
	);
}
