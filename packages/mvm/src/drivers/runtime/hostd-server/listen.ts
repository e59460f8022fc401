// Puts hostd's server on its socket: only one hostd per data folder, the socket never open to others even for a moment, and
// no path opened by root inside a folder that the daemon may write.
import { chmodSync, lchownSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { MvmError } from '@mvm/protocol';

export interface ListenOptions {
	readonly runDir: string;
	/** Who may call; the socket is theirs, mode 0600. */
	readonly daemon: { readonly uid: number; readonly gid: number };
	readonly root: boolean;
}

/** Listens at `<run>/admin/hostd.sock`; made beside and moved in, so an old socket is replaced in one step. */
export async function listenHostd(http: HttpServer, options: ListenOptions): Promise<string> {
	const { runDir, daemon, root } = options;
	mkdirSync(runDir, { recursive: true, mode: 0o711 });
	chmodSync(runDir, 0o711);
	const admin = join(runDir, 'admin');
	mkdirSync(admin, { recursive: true, mode: 0o700 });
	const incoming = join(runDir, `hostd.${process.pid}.sock`);
	rmSync(incoming, { force: true });
	const previous = process.umask(0o177);
	try {
		await listen(http, incoming);
	} finally {
		process.umask(previous);
	}
	if (root) {
		lchownSync(incoming, daemon.uid, daemon.gid);
		lchownSync(admin, daemon.uid, daemon.gid);
	}
	const socket = join(admin, 'hostd.sock');
	renameSync(incoming, socket);
	return socket;
}

/** Holds the one-hostd lock of a data folder until the process ends, however it ends. Throws CONFLICT when it is taken. */
export async function holdHostdLock(name: string): Promise<Server> {
	const server = createServer((socket) => socket.destroy());
	try {
		// An abstract socket: the kernel frees the name with the process, so no stale lock can remain.
		await listen(server, `\0mvm-hostd-${name}`);
	} catch (cause) {
		throw new MvmError('CONFLICT', 'another mvm-hostd already serves this data folder', { cause });
	}
	server.unref();
	return server;
}

function listen(server: Server | HttpServer, path: string): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once('error', reject);
		server.listen(path, () => {
			server.off('error', reject);
			resolve();
		});
	});
}
