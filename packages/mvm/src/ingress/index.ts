// The one door of the ingress service. The edge accepts through it; main/ composes delivery and settlement.
export { type AcceptDeps, type Accepted, Acceptor, type InboundMessage } from './accept.ts';
export { type Channel, type ChannelDeps, channelsOf, type LoadChannel } from './channel.ts';
export { Delivery, type DeliveryDeps } from './delivery.ts';
export type { DeliveryEvent } from './finish-attempt.ts';
export { endToEndHeaders } from './headers.ts';
export { type CheckpointMoment, onCheckpointed, onRolledBack, type SettleDeps } from './settle.ts';
export { shortCache } from './short-cache.ts';
export { equalSecrets } from './verify.ts';
