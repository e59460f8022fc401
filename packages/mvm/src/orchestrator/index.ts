// The door of the orchestrator for edge and ingress.
export { type HostBoundDeps, makeHostBoundHandler } from './host-bound.ts';
export { type AcquireInput, type Acquirer, type AwakeLease, Orchestrator, type OrchestratorDeps } from './orchestrator.ts';
