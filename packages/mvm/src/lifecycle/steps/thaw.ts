// Warm path: let a frozen or hibernated tree run again as a new incarnation and re-identify it before any traffic.
import { MvmError } from '@mvm/protocol';
import type { LifecycleDeps, PoolView } from '../deps.ts';
import { GuestAgent } from '../guest-agent.ts';
import type { InstanceHandle } from '../instance-handle.ts';
import type { OperationContext } from '../operation-context.ts';
import { postRestoreOf } from './boot.ts';
import { deliverSecrets } from './secrets.ts';

/** Returns the secrets epoch the instance now holds. Throws when the guest does not answer; the caller then goes cold. */
export async function thawInstance(
	deps: LifecycleDeps,
	handle: InstanceHandle,
	pool: PoolView,
	ctx: OperationContext,
): Promise<{ readonly secretsEpoch: number }> {
	const { signal } = ctx;
	const { link } = handle;
	if (link === undefined) throw new MvmError('LINK_DOWN', `no link is open for ${handle.id}`);
	// Its secrets folder lived on with it; only a change since then has to be written.
	const secretsEpoch =
		pool.secretsEpoch === handle.row.secretsEpoch
			? pool.secretsEpoch
			: await ctx.step('secrets', () => deliverSecrets(deps, handle.id, pool, signal), { journal: false });
	const identity = { incarnation: ctx.incarnation, token: deps.tokenFor(handle.id, ctx.incarnation) };
	link.expect(identity);
	await ctx.step('thaw', () => deps.runtime.thaw({ instanceId: handle.id, incarnation: ctx.incarnation }, { signal }), {
		journal: false,
	});
	const agent = new GuestAgent(link);
	const deadline = AbortSignal.any([signal, AbortSignal.timeout(deps.limits.linkTimeoutMs)]);
	await ctx.step(
		'post_restore',
		async () => {
			await link.until(['stale', 'up'], { signal: deadline });
			await agent.postRestore(postRestoreOf(deps, identity, secretsEpoch), { signal: deadline });
			link.acknowledged();
		},
		{ journal: false },
	);
	await ctx.step('wake_guest', () => agent.wake({ signal: deadline }), { journal: false });
	return { secretsEpoch };
}
