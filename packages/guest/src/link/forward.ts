// Connects a stream of the host to a loopback port in the instance.
import { connect, type Socket } from 'node:net';

const CONNECT_MS = 5_000;
const FIRST_UNPRIVILEGED_PORT = 1024;
/** A workload that listens on `localhost` may have only one of them. */
const LOOPBACKS = ['127.0.0.1', '::1'] as const;

/** Says why a port is not forwarded to, or nothing. */
export function forwardRefusal(port: number, agentPorts: ReadonlySet<number>): string | undefined {
	if (port < FIRST_UNPRIVILEGED_PORT) return `port ${port} is privileged`;
	if (agentPorts.has(port)) return `port ${port} is the agent's own`;
	return undefined;
}

/** Rejects with the last reason when nothing listens. */
export async function connectLoopback(port: number): Promise<Socket> {
	let last: unknown;
	for (const host of LOOPBACKS) {
		try {
			return await connectTo(host, port);
		} catch (error) {
			last = error;
		}
	}
	throw last;
}

function connectTo(host: string, port: number): Promise<Socket> {
	const { promise, resolve, reject } = Promise.withResolvers<Socket>();
	const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
	const timer = setTimeout(() => socket.destroy(new Error(`port ${port} did not accept in ${CONNECT_MS} ms`)), CONNECT_MS);
	socket.once('connect', () => {
		clearTimeout(timer);
		resolve(socket);
	});
	// Stays: a later error of the socket is seen by whoever reads it.
	socket.on('error', (error) => {
		clearTimeout(timer);
		reject(error);
	});
	return promise;
}
