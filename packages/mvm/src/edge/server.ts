// Opens the edge's doors: the admin socket and the public address, each a Node HTTP server with the limits that keep slow
// and greedy clients off. Composed in main/daemon.ts. Knows nothing of what requests mean; front.ts does.
import { chmod, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { MvmError } from '@mvm/protocol';
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.ts';
import type { Door } from './authenticate.ts';
import { type Front, type FrontDeps, makeFront } from './front.ts';
import { readTls, requireTlsOrLoopback, type TlsFiles, tlsVersion } from './tls.ts';

export interface EdgeOptions {
	/** Undefined: no public door. */
	readonly listen: { readonly host: string; readonly port: number } | undefined;
	readonly tls?: TlsFiles | undefined;
	/** Its folder is 0700; the socket itself 0600. */
	readonly adminSocket: string;
}

export interface Edge {
	/** The public address with the port that was really taken; undefined without one. */
	readonly address: { readonly host: string; readonly port: number } | undefined;
	/** Reads the certificate files again now (SIGHUP); a bad pair is refused and the old one stays. */
	reloadTls(): Promise<void>;
	/** Takes no new connections, lets requests under way end until the signal aborts, then breaks off. */
	close(options: { readonly signal: AbortSignal }): Promise<void>;
}

/** Against clients that send slowly or never end. */
const LIMITS: ServerOptions = {
	maxHeaderSize: 32 * 1024,
	headersTimeout: 15_000,
	requestTimeout: 300_000,
	keepAliveTimeout: 65_000,
	connectionsCheckingInterval: 5_000,
	requireHostHeader: true,
};
const MAX_HEADERS = 200;
const TLS_LOOK_MS = 30_000;
const CLOSE_LOOK_MS = 25;

/** Throws TLS_REQUIRED before anything is opened, ALREADY_RUNNING when another platform answers on the admin socket. */
export async function startEdge(
	deps: FrontDeps & { readonly clock: Clock; readonly log: Logger },
	options: EdgeOptions,
): Promise<Edge> {
	const { listen, tls } = options;
	if (listen !== undefined) requireTlsOrLoopback(listen.host, tls);
	const front = makeFront(deps);
	await using opened = new AsyncDisposableStack();
	const doors: Server[] = [];
	const open = (server: Server, door: Door): Server => {
		wire(server, front, door);
		doors.push(server);
		opened.defer(() => closeNow(server));
		return server;
	};
	await clearStaleSocket(options.adminSocket);
	await listening(open(createServer(LIMITS), 'admin'), { path: options.adminSocket });
	await chmod(options.adminSocket, 0o600);
	let address: Edge['address'];
	let reloader: TlsReloader | undefined;
	if (listen !== undefined) {
		const files = tls === undefined ? undefined : await readTls(tls);
		const server = open(
			files === undefined ? createServer(LIMITS) : createTlsServer({ ...LIMITS, ...files, minVersion: 'TLSv1.2' }),
			'public',
		);
		await listening(server, listen);
		address = { host: listen.host, port: (server.address() as AddressInfo).port };
		if (tls !== undefined && files !== undefined) reloader = new TlsReloader(deps, tls, server as TlsServer, files.version);
	}
	opened.move();
	return {
		address,
		reloadTls: async () => reloader?.look(),
		async close({ signal }) {
			reloader?.close();
			for (const server of doors) server.close();
			front.end();
			for (const server of doors) server.closeIdleConnections();
			while (front.underWay > 0 && !signal.aborted) {
				await deps.clock.sleep(CLOSE_LOOK_MS, { signal }).catch(() => {}); // aborted: the loop ends
			}
			front.abort();
			await Promise.all(doors.map(closeNow));
		},
	};
}

function wire(server: Server, front: Front, door: Door): void {
	server.maxHeadersCount = MAX_HEADERS;
	const serve: RequestListener = (request, response) => front.serve(door, request, response);
	server.on('request', serve);
	server.on('upgrade', (request, socket: Duplex, head: Buffer) => front.upgrade(door, request, socket, head));
	server.on('clientError', (_error, socket: Duplex) => {
		if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
	});
}

function listening(server: Server, at: { path: string } | { host: string; port: number }): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once('error', (cause: NodeJS.ErrnoException) => {
			const where = 'path' in at ? at.path : `${at.host}:${at.port}`;
			if (cause.code !== 'EADDRINUSE') return reject(cause);
			const hint = 'stop the other one, or choose another address with MVM_LISTEN';
			reject(new MvmError('CONFLICT', `something listens on ${where} already`, { cause, hint }));
		});
		server.listen({ ...at, backlog: 1024 }, () => resolve());
	});
}

function closeNow(server: Server): Promise<void> {
	return new Promise((resolve) => {
		server.close(() => resolve());
		server.closeAllConnections();
	});
}

/** A socket file that nobody answers on is left over from a crash. */
async function clearStaleSocket(path: string): Promise<void> {
	const isLive = await new Promise<boolean>((resolve) => {
		const probe = connect(path);
		probe.once('connect', () => {
			probe.destroy();
			resolve(true);
		});
		probe.once('error', () => resolve(false));
	});
	if (isLive) throw new MvmError('ALREADY_RUNNING', `a platform answers on ${path}`, { hint: 'mvm down ends it' });
	await rm(path, { force: true });
}

/** Looks at the certificate files now and then and takes a changed pair over. */
class TlsReloader {
	readonly #deps: { readonly clock: Clock; readonly log: Logger };
	readonly #files: TlsFiles;
	readonly #server: TlsServer;
	#version: string;
	#cancel: () => void;

	constructor(deps: { clock: Clock; log: Logger }, files: TlsFiles, server: TlsServer, version: string) {
		this.#deps = deps;
		this.#files = files;
		this.#server = server;
		this.#version = version;
		this.#cancel = this.#arm();
	}

	async look(): Promise<void> {
		try {
			if ((await tlsVersion(this.#files)) === this.#version) return;
			const { cert, key, version } = await readTls(this.#files);
			this.#server.setSecureContext({ cert, key, minVersion: 'TLSv1.2' });
			this.#version = version;
			this.#deps.log.info({ cert: this.#files.cert }, 'certificate reloaded');
		} catch (err) {
			this.#deps.log.error({ err, cert: this.#files.cert }, 'certificate not reloaded, the old one stays');
		}
	}

	close(): void {
		this.#cancel();
	}

	#arm(): () => void {
		return this.#deps.clock.after(TLS_LOOK_MS, () => {
			this.#cancel = this.#arm();
			void this.look();
		});
	}
}
