// The one door of the store: the database handle, its preparation, and one function per operation on the tables.

export type { ApiKeyRow } from './api-key/api-key-row.ts';
export * from './api-key/create-api-key.ts';
export * from './api-key/find-api-key.ts';
export * from './api-key/revoke-api-key.ts';
export * from './audit/append-audit.ts';
export * from './audit/audit-buffer.ts';
export type { ChainEnd, ChainVerdict, HashedRecord } from './audit/chain.ts';
export { auditHead, listAudit } from './audit/read-audit.ts';
export * from './audit/verify-audit.ts';
export { type CheckpointRow, getCheckpoint, listCheckpoints } from './checkpoint/checkpoint-rows.ts';
export { CheckpointStore, type CheckpointStoreDeps, type CheckpointSubject } from './checkpoint/checkpoint-store.ts';
export {
	type Connection,
	type Database,
	type DatabaseOptions,
	type NotificationHandler,
	openDatabase,
	type Tx,
	type UnitOptions,
} from './database.ts';
export * from './event/append-event.ts';
export * from './event/list-events.ts';
export { Housekeeper, type HousekeepingReport, type Retention } from './housekeeping.ts';
export * from './idempotency/begin-idempotent.ts';
export { type ClaimedMessage, claimLane } from './ingress/claim-lane.ts';
export { type DueLanes, dueLanes, type Lane } from './ingress/due-lanes.ts';
export { type ChannelPool, findChannelPools } from './ingress/find-channel-pools.ts';
export { markDead, markTaken, markWaiting } from './ingress/finish-delivery.ts';
export { INGRESS_NOTIFY_CHANNEL, insertMessages, type NewIngressMessage } from './ingress/insert-messages.ts';
export {
	countMessages,
	type IngressMessage,
	type IngressMessageDetail,
	type IngressMessageState,
	listMessages,
	readMessage,
} from './ingress/read-messages.ts';
export { makeUpMissed, releaseClaims, releaseLane } from './ingress/recover-messages.ts';
export { resubmitMessage } from './ingress/resubmit-message.ts';
export { retainedBytes } from './ingress/retained-bytes.ts';
export { returnMessages, settleMessages } from './ingress/settle-messages.ts';
export { type ClaimInput, claimOperation } from './instance/claim-operation.ts';
export { createInstance } from './instance/create-instance.ts';
export { type FinishInput, finishOperation } from './instance/finish-operation.ts';
export { getInstance, listInstances } from './instance/list-instances.ts';
export { raiseIncarnation } from './instance/raise-incarnation.ts';
export { INSTANCE_STATES, type InstanceRow, type OperationRow } from './instance/row.ts';
export { stepOperation } from './instance/step-operation.ts';
export { type InstancePatch, updateInstance } from './instance/update-instance.ts';
export { notify } from './notify.ts';
export { readOperation, readOperations } from './operation/read-operations.ts';
export * from './pool/destroy-pool.ts';
export { findPool, getPool, listPools } from './pool/get-pool.ts';
export * from './pool/put-pool.ts';
export type { PoolRow } from './pool/row.ts';
export * from './pool/set-pool-image.ts';
export { type PreparedStore, prepareEmbeddedStore, prepareUrlStore } from './prepare-store.ts';
export { type MasterKey, openMasterKey } from './secret/master-key.ts';
export * from './secret/read-secrets.ts';
export * from './secret/set-secret.ts';
export { json, type Tables } from './tables.ts';
export * from './tenant/create-tenant.ts';
export * from './tenant/destroy-tenant.ts';
export { findTenant, getTenant, listTenants } from './tenant/get-tenant.ts';
export type { TenantRow } from './tenant/row.ts';
export * from './tenant/update-tenant.ts';
