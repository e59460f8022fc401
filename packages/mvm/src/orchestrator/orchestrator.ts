// The only way from outside to an awake instance: checks suspension and quotas, chooses the instance, wakes it, holds it.
// Ingress, gateway and host-bound requests come through here; policy and operators use lifecycle for everything else.
import type { Duplex } from 'node:stream';
import { type InstanceId, MvmError, type PoolId, type TenantId, type WakeOutcome } from '@mvm/protocol';
import { chooseInstance } from '../domain/routing.ts';
import type { HoldReason, InstanceHandle, Lifecycle } from '../lifecycle/index.ts';

export interface AcquireInput {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	/** Messages with the same key reach the same instance as long as the pool's instances stay the same. */
	readonly orderKey?: string;
	readonly instanceId?: InstanceId;
	readonly why: 'ingress' | 'request' | 'operator';
	readonly traceId: string;
}

/** The instance is awake and stays so until the lease is disposed. */
export interface AwakeLease extends AsyncDisposable {
	readonly instanceId: InstanceId;
	readonly incarnation: number;
	readonly wake: WakeOutcome;
	/** Opens a raw byte stream to 127.0.0.1:port inside the instance. */
	forward(port: number, options: { readonly signal: AbortSignal }): Promise<Duplex>;
}

/** What everything outside sees of the orchestrator: one door to an awake instance. */
export interface Acquirer {
	acquire(input: AcquireInput, options: { readonly signal: AbortSignal }): Promise<AwakeLease>;
}

export interface OrchestratorDeps {
	readonly lifecycle: Lifecycle;
	/** Undefined when the tenant may be served; else why not. */
	readonly suspensionOf: (tenant: TenantId) => Promise<string | undefined>;
}

const HOLDS: { readonly [W in AcquireInput['why']]: HoldReason } = {
	ingress: 'held_ingress',
	request: 'open_stream',
	operator: 'open_stream',
};

export class Orchestrator implements Acquirer {
	readonly #deps: OrchestratorDeps;
	/** First instances being created, so that many first requests make one. */
	readonly #creating = new Map<string, Promise<InstanceId>>();

	constructor(deps: OrchestratorDeps) {
		this.#deps = deps;
	}

	/**
	 * Throws TENANT_SUSPENDED, QUOTA_EXCEEDED (with figures), INSTANCE_NOT_FOUND, NEEDS_ATTENTION, WAKE_FAILED or WAKE_TIMEOUT;
	 * the signal's own reason when the caller gave up waiting.
	 */
	async acquire(input: AcquireInput, options: { readonly signal: AbortSignal }): Promise<AwakeLease> {
		const { lifecycle } = this.#deps;
		const suspended = await this.#deps.suspensionOf(input.tenantId);
		if (suspended !== undefined) throw new MvmError('TENANT_SUSPENDED', `tenant ${input.tenantId} is suspended: ${suspended}`);
		const instanceId = input.instanceId ?? (await this.#choose(input, options.signal));
		const operation = { reason: input.why, traceId: input.traceId, signal: options.signal };
		const held = await lifecycle.hold(instanceId, HOLDS[input.why], operation);
		return {
			instanceId,
			incarnation: held.incarnation,
			wake: held.wake,
			forward: (port, forwardOptions) => lifecycle.forward(instanceId, port, forwardOptions),
			[Symbol.asyncDispose]: async () => held.release(),
		};
	}

	async #choose(input: AcquireInput, signal: AbortSignal): Promise<InstanceId> {
		const { tenantId, poolId } = input;
		const mine = this.#deps.lifecycle.handles.filter(
			(h) => h.row.tenantId === tenantId && h.row.poolId === poolId && h.row.state !== 'destroyed',
		);
		const usable = mine.filter((h) => !needsAttention(h));
		// Somebody forbade to go on with less than all of its state; a fresh instance would have none of it.
		if (mine.length > 0 && usable.length === 0) {
			throw new MvmError('NEEDS_ATTENTION', `every instance of ${tenantId}/${poolId} waits for a person`, {
				details: { instances: mine.map((h) => h.id) },
				hint: `mvm instance list --tenant ${tenantId} says why`,
			});
		}
		if (usable.length > 0) {
			const byId = usable.map((h) => h.id);
			if (input.orderKey !== undefined) return chooseInstance(input.orderKey, byId);
			return usable.toSorted((a, b) => rank(a) - rank(b))[0]?.id ?? chooseInstance('', byId);
		}
		return this.#createFirst(input, signal);
	}

	/** A pool without instances gets its first one for the first request. */
	#createFirst(input: AcquireInput, signal: AbortSignal): Promise<InstanceId> {
		const key = `${input.tenantId}/${input.poolId}`;
		const running = this.#creating.get(key);
		if (running !== undefined) return running;
		const creating = this.#deps.lifecycle
			.create(input, { reason: input.why, traceId: input.traceId, signal })
			.then((row) => row.id)
			.finally(() => this.#creating.delete(key));
		this.#creating.set(key, creating);
		return creating;
	}
}

/** An instance that waits for a person serves nobody. */
function needsAttention(handle: InstanceHandle): boolean {
	return handle.row.conditions.some((c) => c.type === 'NeedsAttention' && c.status);
}

/** Cheapest first: awake, frozen, asleep with memory, asleep, stopped, never started. */
function rank(handle: InstanceHandle): number {
	if (handle.isServing) return 0;
	switch (handle.row.state) {
		case 'running':
			return 1;
		case 'warm':
			return 2;
		case 'sleeping':
			return handle.row.hibernated ? 3 : 4;
		default:
			return 5;
	}
}
