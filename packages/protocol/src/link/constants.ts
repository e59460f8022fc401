// Numbers and names both ends of the link agree on.

/** Host to guest: one framed request and its answer per stream; `Forward` turns the stream raw. */
export const AGENT_PORT = 52;
/** Guest to host: framed host-bound requests. */
export const HOST_BOUND_PORT = 53;
/** Guest to host: the instance API, HTTP/1.1 served by the host. */
export const INSTANCE_API_PORT = 54;

/** Sockets in the link directory, listened on by the daemon, dialled by the guest. */
export const LINK_SOCKETS = { toGuest: 'to-guest.sock', toHost: 'to-host.sock' } as const;

/** Where the link directory is seen inside an instance. */
export const GUEST_LINK_DIR = '/run/mvm/link';
/** The Unix socket inside an instance that leads to the instance API. */
export const GUEST_API_SOCKET = '/run/mvm/api.sock';

/** Path of the HTTP/2 request that opens a raw stream to a port. */
export const streamPath = (port: number): string => `/port/${port}`;

/** The port of a `streamPath`, or nothing when the path is something else. */
export function parseStreamPath(path: string): number | undefined {
	const port = Number(/^\/port\/([1-9]\d{0,4})$/.exec(path)?.[1]);
	return Number.isInteger(port) && port <= 65_535 ? port : undefined;
}
