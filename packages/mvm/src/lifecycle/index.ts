// The door of lifecycle for other services.
export { askActivity, inhibitorsNow, observe } from './activity.ts';
export type { AuditEntry, Checkpoints, LifecycleDeps, PoolView, WrittenCheckpoint } from './deps.ts';
export { GuestAgent } from './guest-agent.ts';
export type { HoldReason, InstanceHandle } from './instance-handle.ts';
export { type CheckpointedEvent, Lifecycle } from './lifecycle.ts';
export type { OperationOptions } from './operation-runner.ts';
export { recoverAll, watchLives } from './recovery.ts';
