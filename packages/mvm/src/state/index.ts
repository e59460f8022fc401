// The one door of the store: the database handle, its preparation, and one function per operation on the tables.
export {
	type Connection,
	type Database,
	type DatabaseOptions,
	type NotificationHandler,
	openDatabase,
	type Tx,
	type UnitOptions,
} from './database.ts';
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
export { makeUpMissed, releaseClaims } from './ingress/recover-messages.ts';
export { resubmitMessage } from './ingress/resubmit-message.ts';
export { retainedBytes } from './ingress/retained-bytes.ts';
export { returnMessages, settleMessages } from './ingress/settle-messages.ts';
export { notify } from './notify.ts';
export { type PreparedStore, prepareEmbeddedStore, prepareUrlStore } from './prepare-store.ts';
export { json, type Tables } from './tables.ts';
