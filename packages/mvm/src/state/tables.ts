// The tables as Kysely sees them: columns in camelCase (CamelCasePlugin), documents kept in wire form. Mirrors migrations/.
// Used by every file under state/; rows are turned into domain values by the operations, never passed on as they are.
import type { CheckpointId, Condition, InstanceId, OperationId, PoolId, TenantId } from '@mvm/protocol';
import type { ColumnType, Generated } from 'kysely';

/** A jsonb column: read as a value, written as JSON text (use `json`; node-postgres turns bare arrays into SQL arrays). */
type Json<T> = ColumnType<T, string, string>;
/** A jsonb column with a default. */
type JsonDefault<T> = ColumnType<T, string | undefined, string>;
type DefaultTime = ColumnType<Date, Date | undefined, Date>;
/** A column the database counts by itself. */
type Identity = ColumnType<number, never, never>;
/** A column that is null until written. */
type Optional<T> = ColumnType<T | null, T | null | undefined, T | null>;

interface TenantTable {
	id: TenantId;
	quotas: Json<unknown>;
	createdAt: DefaultTime;
	suspendedAt: Optional<Date>;
	suspendReason: Optional<string>;
	/** +1 whenever a secret is set or removed. */
	secretsEpoch: Generated<number>;
	/** Compare-and-set of every change. */
	configVersion: Generated<number>;
}

interface PoolTable {
	tenantId: TenantId;
	id: PoolId;
	spec: Json<unknown>;
	/** Content hash of the image revision that new boots use; null until an image was resolved. */
	image: Optional<string>;
	configVersion: Generated<number>;
	createdAt: DefaultTime;
	updatedAt: DefaultTime;
}

interface InstanceTable {
	id: InstanceId;
	tenantId: TenantId;
	poolId: PoolId;
	state: 'created' | 'ready' | 'running' | 'warm' | 'sleeping' | 'stopped' | 'destroyed';
	hibernated: Generated<boolean>;
	incarnation: Generated<number>;
	version: Generated<number>;
	slot: Optional<number>;
	image: Optional<string>;
	conditions: JsonDefault<readonly Condition[]>;
	pinned: Generated<boolean>;
	enteredRunningAt: Optional<Date>;
	enteredWarmAt: Optional<Date>;
	lastBusyAt: Optional<Date>;
	backoffUntil: Optional<Date>;
	failures: Generated<number>;
	checkpointId: Optional<CheckpointId>;
	dataGeneration: Generated<number>;
	secretsEpoch: Generated<number>;
	createdAt: DefaultTime;
	updatedAt: DefaultTime;
}

interface OperationTable {
	id: OperationId;
	tenantId: TenantId;
	instanceId: InstanceId;
	kind: string;
	step: string;
	incarnation: number;
	reason: string;
	forced: Generated<boolean>;
	detail: JsonDefault<Readonly<Record<string, unknown>>>;
	traceId: Optional<string>;
	startedAt: DefaultTime;
	updatedAt: DefaultTime;
	finishedAt: Optional<Date>;
	outcome: Optional<string>;
	error: ColumnType<unknown, string | null | undefined, string | null>;
}

interface SecretTable {
	tenantId: TenantId;
	name: string;
	version: number;
	keyId: string;
	nonce: Buffer;
	ciphertext: Buffer;
	createdAt: DefaultTime;
}

interface IngressMessageTable {
	id: Identity;
	tenantId: TenantId;
	poolId: PoolId;
	channel: string;
	eventId: string;
	orderKey: Generated<string>;
	instanceId: Optional<InstanceId>;
	state: Generated<'pending' | 'taken' | 'settled' | 'dead'>;
	path: string;
	headers: Json<Readonly<Record<string, string>>>;
	body: Optional<Buffer>;
	bodyBytes: number;
	receivedAt: DefaultTime;
	attempts: Generated<number>;
	/** While claimed: when the claim ends by itself. */
	nextAttemptAt: DefaultTime;
	/** The deliverer at work on it. */
	claimedBy: Optional<string>;
	takenAt: Optional<Date>;
	takenIncarnation: Optional<number>;
	checkpointId: Optional<CheckpointId>;
	lastError: Optional<string>;
	traceId: string;
}

interface CheckpointTable {
	id: CheckpointId;
	tenantId: TenantId;
	instanceId: InstanceId;
	parentId: Optional<CheckpointId>;
	manifestSha256: string;
	incarnation: number;
	image: string;
	schemaVersions: JsonDefault<Readonly<Record<string, string>>>;
	entries: number;
	bytes: number;
	frozenAt: Date;
	createdAt: DefaultTime;
	state: 'good' | 'bad';
	badReason: Optional<string>;
}

interface EventTable {
	id: Identity;
	tenantId: TenantId;
	poolId: Optional<PoolId>;
	instanceId: Optional<InstanceId>;
	kind: string;
	detail: JsonDefault<Readonly<Record<string, unknown>>>;
	traceId: Optional<string>;
	at: DefaultTime;
}

interface AuditTable {
	tenantId: TenantId;
	seq: number;
	at: Date;
	actor: string;
	action: string;
	target: string;
	outcome: string;
	detail: JsonDefault<Readonly<Record<string, unknown>>>;
	traceId: Optional<string>;
	prevHash: Buffer;
	hash: Buffer;
}

interface AuditHeadTable {
	tenantId: TenantId;
	seq: number;
	hash: Buffer;
}

interface ApiKeyTable {
	id: string;
	/** Null for a key of the operator. */
	tenantId: Optional<TenantId>;
	role: 'operator' | 'tenant_admin' | 'tenant_user';
	name: string;
	hash: Buffer;
	createdAt: DefaultTime;
	revokedAt: Optional<Date>;
}

interface IdempotencyTable {
	/** '' for the operator's own requests. */
	tenantId: TenantId | '';
	key: string;
	requestHash: Buffer;
	status: Optional<number>;
	response: ColumnType<unknown, string | null | undefined, string | null>;
	createdAt: DefaultTime;
}

/** Every table of the schema by its camelCase name. */
export interface Tables {
	tenant: TenantTable;
	pool: PoolTable;
	instance: InstanceTable;
	operation: OperationTable;
	secret: SecretTable;
	ingressMessage: IngressMessageTable;
	checkpoint: CheckpointTable;
	event: EventTable;
	audit: AuditTable;
	auditHead: AuditHeadTable;
	apiKey: ApiKeyTable;
	idempotency: IdempotencyTable;
}

/** JSON text for a jsonb column. */
export function json(value: unknown): string {
	return JSON.stringify(value);
}
