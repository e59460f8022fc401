// Writes what an instance may hold into its secrets folder. Runs at every start and wake; the runtime replaces file by file.
import type { InstanceId } from '@mvm/protocol';
import type { LifecycleDeps, PoolView } from '../deps.ts';

/** Returns the epoch that was written. */
export async function deliverSecrets(deps: LifecycleDeps, id: InstanceId, pool: PoolView, signal: AbortSignal): Promise<number> {
	const { epoch, files } = await deps.secretsOf(pool);
	await deps.runtime.writeSecrets({ instanceId: id, epoch, files }, { signal });
	return epoch;
}
