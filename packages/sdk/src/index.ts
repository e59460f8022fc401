// The one door of the sdk package: the client of the control API. Types of requests and answers come from the protocol.
export { type CallInput, type CallOptions, type FollowInput, MvmClient } from './client.ts';
export type { Server } from './transport.ts';
