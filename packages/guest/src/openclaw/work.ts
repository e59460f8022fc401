// What a gateway says it is working on: turns, replies, background work. One read-only call; used by the agent to tell idle from
// busy and by the commands before they close admission. Never guesses idle.
import { type GatewayConnection, GatewayError } from './gateway-client.ts';
import { type Blocker, readBlockers } from './suspension.ts';

/** Everything the gateway itself says it is working on; empty means idle. */
export async function readWork(gateway: GatewayConnection, options: { signal: AbortSignal }): Promise<readonly Blocker[]> {
	// While it is held only suspension calls pass, and no turn runs.
	if (gateway.suspensionPhase === 'prepared') return [];
	try {
		const answer = await gateway.call('gateway.restart.preflight', {}, options);
		if (answer['safe'] === true) return [];
		const blockers = readBlockers(answer['blockers']);
		return blockers.length > 0
			? blockers
			: [{ kind: 'unknown', count: 1, message: String(answer['summary'] ?? 'not safe to stop') }];
	} catch (error) {
		// The announcement of the phase may still be on its way; any other refusal counts as busy.
		if (error instanceof GatewayError && error.code === 'UNAVAILABLE') return [];
		if (error instanceof GatewayError) return [{ kind: 'unknown', count: 1, message: `${error.code}: ${error.message}` }];
		throw error;
	}
}
