// The one door of the edge; main/daemon.ts composes it.
export type { ApiContext, ApiInput, Handler, Handlers, Idempotency, IdempotencyClaim } from './api-types.ts';
export { type Authenticate, makeAuthenticate, makeKeyText, type StoredKey } from './authenticate.ts';
export { makeHandlers, storedEvents, storedIdempotency } from './control.ts';
export type {
	ActionOptions,
	ControlDeps,
	Images,
	InstanceActions,
	InstanceFacts,
	InstanceObservation,
	InstanceReads,
} from './control-deps.ts';
export type { EventFilter, FollowEvents } from './follow-events.ts';
export type { FrontDeps } from './front.ts';
export type { GatewayTarget, GatewayToken } from './gateway-target.ts';
export { HoldCounter } from './hold.ts';
export type { Principal } from './principal.ts';
export { type Edge, type EdgeOptions, startEdge } from './server.ts';
