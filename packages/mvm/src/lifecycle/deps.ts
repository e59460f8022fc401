// What lifecycle needs from the outside; constructed in main/daemon.ts, faked in tests.
import type { CheckpointId, GuestConfig, ImageRevision, InstanceId, PoolId, PoolSpec, Quotas, TenantId } from '@mvm/protocol';
import type { Logger } from '../platform/logger.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Clock } from '../ports/clock.ts';
import type { DialHandler, LinkHost } from '../ports/link.ts';
import type { Runtime, SecretFile } from '../ports/runtime.ts';
import type { Database, InstanceRow } from '../state/index.ts';

/** A pool as an operation sees it: read anew when the operation starts. */
export interface PoolView {
	readonly tenantId: TenantId;
	readonly poolId: PoolId;
	readonly spec: PoolSpec;
	readonly image: ImageRevision;
	readonly quotas: Quotas;
	/** Rises whenever a secret of the tenant changes. */
	readonly secretsEpoch: number;
}

export interface WrittenCheckpoint {
	readonly checkpointId: CheckpointId;
	readonly entries: number;
	readonly bytes: number;
	/** Paths that could not be part of it (devices, sockets, FIFOs), each with why. */
	readonly refused: readonly { readonly path: string; readonly why: string }[];
}

/** A checkpoint that `/data` is put back from. */
export interface RestoredFrom {
	readonly checkpointId: CheckpointId;
	readonly frozenAt: Date;
}

/** Writes, verifies and restores `/data` checkpoints; over state/ and the blob port. */
export interface Checkpoints {
	write(
		input: { readonly instance: InstanceRow; readonly frozenAt: Date; readonly schemaVersions: Readonly<Record<string, string>> },
		options: { readonly signal: AbortSignal },
	): Promise<WrittenCheckpoint>;
	/**
	 * Puts the newest checkpoint that verifies into `/data`. Bad ones are marked and named in `skipped`.
	 * Throws CHECKPOINT_CORRUPT when none is good, NEEDS_ATTENTION when an integration forbids falling back.
	 */
	restore(
		instance: InstanceRow,
		options: {
			readonly allowFallback: boolean;
			readonly signal: AbortSignal;
			/** Ends before `/data` is touched, so that a crash cannot come between the two. */
			readonly onChosen: (chosen: RestoredFrom) => Promise<void>;
		},
	): Promise<{ readonly checkpointId: CheckpointId; readonly frozenAt: Date; readonly skipped: readonly string[] }>;
}

export interface AuditEntry {
	readonly tenantId: TenantId;
	readonly actor: string;
	readonly action: string;
	readonly target: string;
	readonly outcome: string;
	readonly detail?: Readonly<Record<string, unknown>>;
	readonly traceId?: string;
}

export interface LifecycleDeps {
	readonly db: Database;
	readonly runtime: Runtime;
	readonly links: LinkHost;
	readonly checkpoints: Checkpoints;
	readonly clock: Clock;
	readonly random: (bytes: number) => Uint8Array;
	readonly log: Logger;
	readonly metrics: Metrics;
	/** Derives the link token of one incarnation; the same after a daemon restart, so that live guests are recognised. */
	readonly tokenFor: (id: InstanceId, incarnation: number) => string;
	readonly poolOf: (tenant: TenantId, pool: PoolId) => Promise<PoolView>;
	/** Decrypts what the pool's scopes allow; values never leave this call but towards the runtime. */
	readonly secretsOf: (pool: PoolView) => Promise<{ readonly epoch: number; readonly files: readonly SecretFile[] }>;
	readonly guestConfigOf: (instance: InstanceRow, pool: PoolView) => GuestConfig;
	/** Handlers of the ports that guests dial: 53 and 54. */
	readonly handlers: ReadonlyMap<number, DialHandler>;
	/** Writes an audit record and an event of the same name. */
	readonly record: (entry: AuditEntry & { readonly instanceId?: InstanceId; readonly poolId?: PoolId }) => Promise<void>;
	readonly limits: { readonly wakeTimeoutMs: number; readonly linkTimeoutMs: number };
}
