// Waits until the workload is ready, with a deadline of the image's own, and says why when it is not.
import { MvmError } from '@mvm/protocol';
import type { LifecycleDeps, PoolView } from '../deps.ts';
import type { GuestAgent } from '../guest-agent.ts';

/** Quick for small agents, gentle to those that need all of their CPU to start. */
const FIRST_POLL_MS = 10;
const MAX_POLL_MS = 200;
const DEFAULT_TIMEOUT_SECS = 60;

/** Resolves when the supervisor reports the workload ready. Throws NOT_READY or CRASH_LOOP with the last log lines. */
export async function waitReady(deps: LifecycleDeps, agent: GuestAgent, pool: PoolView, signal: AbortSignal): Promise<void> {
	const timeoutMs = (pool.image.workload.ready?.timeoutSecs ?? DEFAULT_TIMEOUT_SECS) * 1000;
	const deadline = deps.clock.monotonic() + timeoutMs;
	for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(MAX_POLL_MS, pollMs * 1.3)) {
		const { workload } = await agent.supervisorStatus({ signal });
		if (workload.state === 'ready' || workload.state === 'running' || workload.state === 'none') return;
		const details = { last_exit: workload.lastExit, restarts: workload.restarts, last_log_lines: workload.lastLogLines };
		if (workload.state === 'crash_loop') {
			throw new MvmError('CRASH_LOOP', 'the workload keeps exiting', { details, hint: 'mvm instance logs shows the console' });
		}
		if (deps.clock.monotonic() >= deadline) {
			throw new MvmError('NOT_READY', `the workload was not ready within ${timeoutMs / 1000} s`, {
				details,
				hint: 'raise workload.ready.timeout_secs in the image recipe, or look at mvm instance logs',
			});
		}
		await deps.clock.sleep(pollMs, { signal });
	}
}
