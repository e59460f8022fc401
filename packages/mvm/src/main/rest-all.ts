// Puts every instance to rest before the platform ends: running and frozen ones sleep cold with a checkpoint, hibernated ones give
// their memory up (the swap file goes away with the platform). What cannot sleep is stopped; nothing keeps the end from coming.
import type { InstanceHandle, Lifecycle, OperationOptions } from '../lifecycle/index.ts';

const PATIENCE_MS = 400_000;

export async function restAll(lifecycle: Lifecycle, traceId: string): Promise<void> {
	const options = { reason: 'shutdown', traceId, signal: AbortSignal.timeout(PATIENCE_MS) };
	await Promise.all(lifecycle.handles.map((handle) => rest(lifecycle, handle, options)));
}

async function rest(lifecycle: Lifecycle, handle: InstanceHandle, options: OperationOptions): Promise<void> {
	const { log } = lifecycle.deps;
	try {
		await handle.operation?.ended;
		if (handle.row.hibernated) await lifecycle.dropMemory(handle.id, options);
		else if (handle.row.state === 'running' || handle.row.state === 'warm')
			await lifecycle.sleep(handle.id, { ...options, resume: 'cold' });
	} catch (error) {
		log.warn({ err: error, instance_id: handle.id }, 'instance could not sleep before the end, stopping it');
		await lifecycle
			.stop(handle.id, options)
			.catch((err: unknown) => log.error({ err, instance_id: handle.id }, 'instance could not be stopped before the end'));
	}
}
