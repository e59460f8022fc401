// Decides between plain HTTP and TLS, and reloads certificates when their files change. Called by server.ts.
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { MvmError } from '@mvm/protocol';

export interface TlsFiles {
	/** PEM, the whole chain. */
	readonly cert: string;
	readonly key: string;
}

export interface TlsContext {
	readonly cert: Buffer;
	readonly key: Buffer;
	/** Changes when a file changes. */
	readonly version: string;
}

/** True for addresses that never leave the machine. */
export function isLoopback(host: string): boolean {
	return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Throws TLS_REQUIRED for plain HTTP on an address that others can reach. */
export function requireTlsOrLoopback(host: string, tls: TlsFiles | undefined): void {
	if (tls !== undefined || isLoopback(host)) return;
	throw new MvmError('TLS_REQUIRED', `plain HTTP on ${host} is refused`, {
		details: { host },
		hint: 'set [tls] cert and key in mvm.toml, or listen on 127.0.0.1 behind a proxy that speaks TLS',
	});
}

export async function tlsVersion(files: TlsFiles): Promise<string> {
	const stats = await Promise.all([stat(files.cert), stat(files.key)]);
	return stats.map((file) => `${file.mtimeMs}:${file.size}:${file.ino}`).join(' ');
}

/** Throws CONFIG_INVALID naming the file that cannot be read. */
export async function readTls(files: TlsFiles): Promise<TlsContext> {
	try {
		const version = await tlsVersion(files);
		const [cert, key] = await Promise.all([readFile(files.cert), readFile(files.key)]);
		return { cert, key, version };
	} catch (cause) {
		throw new MvmError('CONFIG_INVALID', `the TLS files cannot be read: ${(cause as Error).message}`, {
			details: { cert: files.cert, key: files.key },
			cause,
		});
	}
}
