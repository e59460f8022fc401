// The door of the gateway service.
export { type EndpointProxyDeps, type EndpointTarget, makeEndpointHandler } from './endpoint-proxy.ts';
export { type ArtifactReport, type InstanceApiDeps, makeInstanceApiHandler } from './instance-api.ts';
export { checkUpstream, isInternalAddress } from './upstream-policy.ts';
