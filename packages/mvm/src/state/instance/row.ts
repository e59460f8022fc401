// One instance as it stands in the database, and the open operation beside it. Written only by lifecycle.
import type { Condition, InstanceId, OperationId, PoolId, TenantId } from '@mvm/protocol';

export const INSTANCE_STATES = ['created', 'ready', 'running', 'warm', 'sleeping', 'stopped', 'destroyed'] as const;

export interface InstanceRow {
	readonly id: InstanceId;
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly state: (typeof INSTANCE_STATES)[number];
	/** Asleep with its memory paged out; a sleeping instance without it resumes cold. */
	readonly hibernated: boolean;
	/** +1 at every boot, thaw, wake and restore; fences stale copies. */
	readonly incarnation: number;
	/** Compare-and-set of every change. */
	readonly version: number;
	readonly slot: number | null;
	readonly image: string | null;
	readonly conditions: readonly Condition[];
	readonly pinned: boolean;
	readonly enteredRunningAt: Date | null;
	readonly enteredWarmAt: Date | null;
	readonly lastBusyAt: Date | null;
	readonly backoffUntil: Date | null;
	/** Consecutive failed starts or wakes. */
	readonly failures: number;
	/** Newest verified checkpoint. */
	readonly checkpointId: string | null;
	readonly dataGeneration: number;
	readonly secretsEpoch: number;
	readonly createdAt: Date;
	readonly updatedAt: Date;
}

export interface OperationRow {
	readonly id: OperationId;
	readonly tenantId: TenantId;
	readonly instanceId: InstanceId;
	readonly kind: string;
	readonly step: string;
	readonly incarnation: number;
	readonly reason: string;
	readonly forced: boolean;
	readonly detail: Readonly<Record<string, unknown>>;
	readonly traceId: string | null;
	readonly startedAt: Date;
	readonly updatedAt: Date;
	readonly finishedAt: Date | null;
	readonly outcome: string | null;
	readonly error: unknown;
}
