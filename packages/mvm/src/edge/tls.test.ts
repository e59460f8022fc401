import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type PeerCertificate } from 'node:tls';
import pino from 'pino';
import { expect, test } from 'vitest';
import { realClock } from '../../../../test/support/real-clock.ts';
import type { FrontDeps } from './front.ts';
import { type EdgeOptions, startEdge } from './server.ts';
import { isLoopback } from './tls.ts';

/** Makes a certificate of this name; undefined where openssl is missing. */
function certificate(folder: string, name: string): { cert: string; key: string } | undefined {
	const files = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
	const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
	try {
		execFileSync('openssl', [...kind, '-keyout', files.key, '-out', files.cert, '-subj', `/CN=${name}`], { stdio: 'ignore' });
		return files;
	} catch {
		return undefined;
	}
}

const folder = mkdtempSync(join(tmpdir(), 'mvm-tls-'));
const one = certificate(folder, 'one.example');
const two = certificate(folder, 'two.example');
const why = one === undefined ? ' (skipped: no openssl here)' : '';

const deps = { api: { handlers: {} }, clock: realClock, log: pino({ level: 'silent' }) } as unknown as FrontDeps & {
	clock: typeof realClock;
};
const start = (over: Partial<EdgeOptions>) =>
	startEdge(deps, { listen: { host: '127.0.0.1', port: 0 }, adminSocket: join(folder, 'mvm.sock'), ...over });

function shownName(port: number): Promise<string> {
	return new Promise((resolve, reject) => {
		const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
			const { subject }: PeerCertificate = socket.getPeerCertificate();
			resolve(String(subject.CN));
			socket.destroy();
		});
		socket.on('error', reject);
	});
}

test.skipIf(one === undefined)(`a changed certificate is taken over without a restart, a broken one is not${why}`, async () => {
	if (one === undefined || two === undefined) return;
	const files = { cert: join(folder, 'live.crt'), key: join(folder, 'live.key') };
	const put = async (from: { cert: string; key: string }): Promise<void> => {
		const { readFileSync } = await import('node:fs');
		writeFileSync(files.cert, readFileSync(from.cert));
		writeFileSync(files.key, readFileSync(from.key));
	};
	await put(one);
	const edge = await start({ listen: { host: '127.0.0.1', port: 0 }, tls: files });
	const port = edge.address?.port ?? 0;
	expect(await shownName(port)).toBe('one.example');
	await put(two);
	await edge.reloadTls();
	expect(await shownName(port)).toBe('two.example');
	writeFileSync(files.cert, 'no certificate at all, and longer than before so that it is seen');
	await edge.reloadTls();
	expect(await shownName(port)).toBe('two.example');
	await edge.close({ signal: AbortSignal.abort() });
});

test('TLS files that cannot be read keep the edge from starting', async () => {
	const tls = { cert: join(folder, 'no.crt'), key: join(folder, 'no.key') };
	await expect(start({ tls })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
	rmSync(folder, { recursive: true, force: true });
});

test('only addresses that never leave the machine are loopback', () => {
	for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) expect(isLoopback(host)).toBe(true);
	for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.com', '']) expect(isLoopback(host)).toBe(false);
});
