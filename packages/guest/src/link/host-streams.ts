// What processes in the instance may reach on the host: the instance API as a Unix socket, and one loopback port per endpoint.
// Only bytes pass here; who may do what is decided on the host.
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { INSTANCE_API_PORT } from '@mvm/protocol';
import type { Activity } from '../activity.ts';
import type { Log } from '../adapter.ts';
import { splice } from '../splice.ts';
import type { AgentLink } from './agent-link.ts';

const OPEN_MS = 10_000;
const MAX_CONNECTIONS = 64;

export interface HostStreamsInput {
	readonly link: AgentLink;
	/** Directory for `api.sock`. */
	readonly runDir: string;
	readonly endpoints: readonly { readonly name: string; readonly guestPort: number }[];
	/** Told of requests at endpoints; the instance API is not work. */
	readonly activity: Activity;
	readonly log: Log;
}

/** Returns the function that stops listening. A port that is taken is reported and skipped. */
export async function openHostStreams({
	link,
	runDir,
	endpoints,
	activity,
	log,
}: HostStreamsInput): Promise<() => Promise<void>> {
	const sockets = new Set<Socket>();
	const pass = async (socket: Socket, endpoint?: string): Promise<void> => {
		socket.on('error', () => {});
		sockets.add(socket);
		socket.once('close', () => sockets.delete(socket));
		const exchange = endpoint === undefined ? undefined : activity.follow(endpoint);
		try {
			const signal = AbortSignal.timeout(OPEN_MS);
			const stream = await link.open(INSTANCE_API_PORT, endpoint === undefined ? { signal } : { signal, endpoint });
			if (socket.destroyed) return void stream.destroy();
			if (exchange !== undefined) {
				socket.on('data', exchange.asked);
				stream.on('data', exchange.answered);
			}
			await splice(socket, stream);
		} catch (error) {
			log('warn', 'host not reached', { endpoint: endpoint ?? 'api', why: (error as Error).message });
		} finally {
			exchange?.ended();
			socket.destroy();
		}
	};
	const servers: Server[] = [];
	const listen = async (where: string | number, endpoint?: string): Promise<void> => {
		const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void pass(socket, endpoint));
		server.maxConnections = MAX_CONNECTIONS;
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		server.once('error', reject);
		if (typeof where === 'string') server.listen(where, resolve);
		else server.listen(where, '127.0.0.1', resolve);
		await promise;
		server.off('error', reject).on('error', () => {});
		servers.push(server);
	};
	const api = join(runDir, 'api.sock');
	await rm(api, { force: true });
	await listen(api);
	await chmod(api, 0o666);
	for (const { name, guestPort } of endpoints) {
		try {
			await listen(guestPort, name);
		} catch (error) {
			log('error', 'endpoint not opened', { endpoint: name, port: guestPort, why: (error as Error).message });
		}
	}
	return async () => {
		for (const socket of sockets) socket.destroy();
		await Promise.all(servers.map((server) => new Promise<void>((done) => server.close(() => done()))));
	};
}
