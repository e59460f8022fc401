// The host's side of the link for drivers whose guest shares a directory of Unix sockets: listens, greets, hands over to link.ts.
// Constructed in main/. Never connects to, or opens, anything a guest can write.
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { LINK_SOCKETS, type LinkHello, MvmError } from '@mvm/protocol';
import type { Logger } from 'pino';
import type { Clock } from '../../../ports/clock.ts';
import type { LinkHost } from '../../../ports/link.ts';
import { EagerDuplex } from './eager-duplex.ts';
import { answerHello, readHello } from './handshake.ts';
import { Http2Link } from './link.ts';
import { MAX_PENDING_BYTES } from './session.ts';

const HELLO_DEADLINE_MS = 5_000;
/** Connections that have not said who they are, per socket. */
const MAX_GREETING = 8;
/** The directory decides who may pass; the supervisor's uid is not the daemon's. */
const SOCKET_MODE = 0o666;

type StreamKind = LinkHello['stream'];

export function makeHttp2UnixLinkHost(deps: { readonly clock: Clock; readonly log: Logger }): LinkHost {
	return {
		async open({ instanceId, linkDir, identity, wasIssued, handlers }) {
			const servers: Server[] = [];
			const sockets = new Set<Socket>();
			const stopListening = async (): Promise<void> => {
				for (const socket of sockets) socket.destroy();
				await Promise.all(servers.map((server) => new Promise<void>((done) => server.close(() => done()))));
			};
			const link = new Http2Link({ instanceId, identity, wasIssued, handlers, ...deps, stopListening });
			const greet = (kind: StreamKind) => {
				let greeting = 0;
				return async (socket: Socket): Promise<void> => {
					socket.on('error', () => {});
					sockets.add(socket);
					socket.once('close', () => sockets.delete(socket));
					if (greeting >= MAX_GREETING) return void socket.destroy();
					greeting += 1;
					try {
						const { hello, rest } = await readHello(socket, { clock: deps.clock, deadlineMs: HELLO_DEADLINE_MS });
						const refused = hello.stream === kind ? link.refusal(hello) : 'wrong socket';
						answerHello(socket, refused);
						if (refused === undefined) {
							link.attach(hello, new EagerDuplex(socket, { first: rest, maxPendingBytes: MAX_PENDING_BYTES }));
							return;
						}
						const { incarnation } = hello;
						deps.log.warn({ instance_id: instanceId, incarnation, why: refused }, 'guest refused');
						socket.end(() => socket.destroy());
					} catch (error) {
						deps.log.warn({ instance_id: instanceId, why: (error as Error).message }, 'guest refused');
						socket.destroy();
					} finally {
						greeting -= 1;
					}
				};
			};
			try {
				for (const [name, kind] of [
					[LINK_SOCKETS.toGuest, 'to_guest'],
					[LINK_SOCKETS.toHost, 'to_host'],
				] as const)
					servers.push(await listen(join(linkDir, name), greet(kind)));
			} catch (error) {
				await stopListening();
				throw error;
			}
			return link;
		},
	};
}

/** Replaces the socket file a daemon before this one left behind. */
async function listen(path: string, onConnection: (socket: Socket) => Promise<void>): Promise<Server> {
	await rm(path, { force: true });
	const server = createServer({ pauseOnConnect: false, allowHalfOpen: false }, (socket) => void onConnection(socket));
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	server.once('error', reject);
	server.listen(path, resolve);
	try {
		await promise;
	} catch (cause) {
		throw new MvmError('INTERNAL', `cannot listen on the link socket: ${(cause as Error).message}`, {
			details: { path_bytes: Buffer.byteLength(path) },
			cause,
		});
	}
	server.off('error', reject);
	server.on('error', () => {});
	await chmod(path, SOCKET_MODE);
	return server;
}
