// What ingress and edge need of the orchestrator: one door to an awake instance. The lead's orchestrator satisfies it;
// tests bring a scripted one. Structural on purpose, so that a service before the orchestrator does not import it.

import type { Duplex } from 'node:stream';
import type { InstanceId, PoolId, TenantId, WakeOutcome } from '@mvm/protocol';

export interface AcquireInput {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	/** Chooses the instance of a pool by a stable hash; absent: any. */
	readonly orderKey?: string;
	readonly instanceId?: InstanceId;
	readonly why: 'ingress' | 'request' | 'operator';
	readonly traceId: string;
}

/** The instance is awake and stays awake until this is disposed. */
export interface AwakeLease extends AsyncDisposable {
	readonly instanceId: InstanceId;
	readonly incarnation: number;
	readonly wake: WakeOutcome;
	/** Opens a raw byte stream to 127.0.0.1:`port` inside the instance. */
	forward(port: number, options: { readonly signal: AbortSignal }): Promise<Duplex>;
}

export interface Acquirer {
	acquire(input: AcquireInput, options: { readonly signal: AbortSignal }): Promise<AwakeLease>;
}
