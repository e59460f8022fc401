// What the control API's handlers need from the rest of the platform; main/daemon.ts passes the real things, which satisfy
// these shapes as they are. Narrow on purpose: a handler can do no more than what stands here.
import type {
	CheckpointView,
	DoctorReport,
	HostInfo,
	ImageRecipe,
	ImageRevision,
	InstanceId,
	PoolId,
	SupervisorStatus,
	TenantId,
} from '@mvm/protocol';
import type { Logger } from 'pino';
import type { Acquirer } from '../orchestrator/index.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observed } from '../ports/runtime.ts';
import type { Database, InstanceRow, MasterKey, Tx } from '../state/index.ts';

/** A row of the instance table, as far as the API shows it. */
export type InstanceFacts = Omit<InstanceRow, 'version' | 'slot' | 'dataGeneration' | 'secretsEpoch'>;

/** Reads of the instance table; under the row-level security of the given transaction. */
export interface InstanceReads {
	get(tx: Tx, id: InstanceId): Promise<InstanceFacts | undefined>;
	list(tx: Tx, filter: { readonly tenantId?: TenantId; readonly poolId?: PoolId }): Promise<readonly InstanceFacts[]>;
}

export interface ActionOptions {
	readonly reason: string;
	readonly traceId: string;
	readonly signal: AbortSignal;
	readonly forced?: boolean;
}

/** Lifecycle, without wake: waking from outside goes through the orchestrator. */
export interface InstanceActions {
	create(
		input: { readonly tenantId: TenantId; readonly poolId: PoolId },
		options: ActionOptions,
	): Promise<{ readonly id: InstanceId }>;
	warm(id: InstanceId, options: ActionOptions): Promise<void>;
	sleep(id: InstanceId, options: ActionOptions): Promise<void>;
	stop(id: InstanceId, options: ActionOptions): Promise<void>;
	destroy(id: InstanceId, options: ActionOptions): Promise<void>;
}

/** What the host and the guest say about an instance now. */
export interface InstanceObservation {
	readonly runtime: Observed | undefined;
	/** Names of what keeps it awake. */
	readonly inhibitors: readonly string[];
}

/** The images of the runtime port. */
export interface Images {
	installImage(
		recipe: ImageRecipe,
		options: { readonly signal: AbortSignal; readonly onProgress?: (line: string) => void },
	): Promise<ImageRevision>;
	listImages(options: { readonly signal: AbortSignal }): Promise<readonly ImageRevision[]>;
	gcImages(keep: readonly string[], options: { readonly signal: AbortSignal }): Promise<readonly string[]>;
}

export interface ControlDeps {
	readonly db: Database;
	readonly clock: Clock;
	readonly log: Logger;
	readonly random: (bytes: number) => Uint8Array;
	readonly masterKey: MasterKey;
	readonly orchestrator: Acquirer;
	readonly actions: InstanceActions;
	readonly instances: InstanceReads;
	readonly images: Images;
	readonly observe: (id: InstanceId, options: { readonly signal: AbortSignal }) => Promise<InstanceObservation>;
	/** Null while no guest agent answers. */
	readonly supervisor: (id: InstanceId, options: { readonly signal: AbortSignal }) => Promise<SupervisorStatus | null>;
	readonly logs: (
		input: { readonly instanceId: InstanceId; readonly tailBytes: number },
		options: { readonly signal: AbortSignal },
	) => Promise<string>;
	readonly checkpoints: {
		list(tx: Tx, id: InstanceId): Promise<readonly CheckpointView[]>;
		/** Reads every blob of it again. Throws CHECKPOINT_NOT_FOUND. */
		verify(
			tenantId: TenantId | undefined,
			checkpointId: string,
			options: { readonly signal: AbortSignal },
		): Promise<CheckpointView>;
	};
	/** Removes a destroyed tenant's blobs. */
	readonly dropBlobs: (tenantId: TenantId) => Promise<void>;
	/** Something about the tenant changed (counts, secrets, suspension): look at it now. */
	readonly changed: (tenantId: TenantId) => void;
	readonly host: {
		info(options: { readonly signal: AbortSignal }): Promise<HostInfo>;
		doctor(options: { readonly signal: AbortSignal }): Promise<DoctorReport>;
	};
}
