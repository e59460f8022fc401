// Durable ingress: accepts per second through the edge, with fsync, beside peers in the same run. The tenant is suspended, so that
// messages are kept (202) and not delivered: accepting alone is measured.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseTenantId } from '@mvm/protocol';
import { COUNTER, readDeploy } from '../test/support/platform-deploy.ts';
import { updateText } from './agents.ts';
import { type Bench, settle } from './bench.ts';
import { load } from './http-load.ts';
import { startRedis } from './redis-peer.ts';
import { percentile } from './report.ts';

const TENANT = parseTenantId('bench-ingress');
const IN_FLIGHT = [1, 8, 64] as const;
const SECONDS = 6;

export async function measureIngress(bench: Bench): Promise<void> {
	const { platform } = bench;
	const seconds = Math.max(2, SECONDS / bench.haste);
	const request = readDeploy(COUNTER, {
		secrets: { TELEGRAM_BOT_TOKEN: 'none', TELEGRAM_WEBHOOK_SECRET: bench.secret },
		patch: (document) => {
			document.tenant.id = TENANT;
			for (const pool of document.pools) {
				pool['desired'] = { running: 0, warm: 0, sleeping: 0 };
				for (const endpoint of pool.endpoints) endpoint['upstream'] = 'https://api.telegram.org';
			}
		},
	});
	await platform.deploy(request);
	await platform.client.call('tenant.suspend', { params: { tenant: TENANT }, body: { reason: 'benchmark' } });
	await settle(2_000); // the edge remembers for a second that it was not
	const ours: number[] = [];
	for (const inFlight of IN_FLIGHT) {
		bench.say(`ingress: ${inFlight} in flight`);
		const path = `/in/${TENANT}/telegram/`;
		const headers = `x-telegram-bot-api-secret-token: ${bench.secret}`;
		const result = await load({
			port: bench.edgePort,
			inFlight,
			seconds,
			statuses: [200, 202],
			request: (at) => post(path, headers, updateText(inFlight * 10_000_000 + at)),
		});
		report(bench, `mvm, ${inFlight} in flight`, result.samples, result.perSec);
		ours.push(result.perSec);
	}
	const peers: number[] = [];
	await using peer = await startPeer(join(platform.folders.run, 'pg'));
	for (const inFlight of IN_FLIGHT) {
		const result = await load({
			port: peer.port,
			inFlight,
			seconds,
			statuses: [200],
			request: (at) => post('/', 'x-none: 1', updateText(at)),
		});
		report(bench, `peer, insert and commit each, ${inFlight} in flight`, result.samples, result.perSec);
		peers.push(result.perSec);
	}
	IN_FLIGHT.forEach((inFlight, at) => {
		const value = (ours[at] ?? Number.NaN) / (peers[at] ?? Number.NaN);
		bench.found({ section: 'ingress', what: `mvm against that peer, ${inFlight} in flight`, unit: 'x', value });
	});
	await using redis = await startRedis();
	if (redis === undefined) return bench.say('ingress: peer Redis with appendfsync always: not installed');
	for (const inFlight of IN_FLIGHT) {
		const samples = await redis.run({ inFlight, seconds, body: updateText(inFlight) });
		report(bench, `peer, Redis synced at every write, no HTTP, ${inFlight} in flight`, samples, samples.length / seconds);
	}
}

function report(bench: Bench, what: string, samples: readonly number[], perSec: number): void {
	bench.found({ section: 'ingress', what, unit: '/s', value: perSec });
	const [p50, p99] = [percentile(samples, 0.5), percentile(samples, 0.99)];
	bench.found({ section: 'ingress', what: `${what}: time`, unit: 'ms', value: p50, p99, n: samples.length });
}

function post(path: string, header: string, body: string): Buffer {
	const head = [`POST ${path} HTTP/1.1`, 'host: 127.0.0.1', 'content-type: application/json', header];
	return Buffer.from(`${head.join('\r\n')}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

async function startPeer(socketDir: string): Promise<{ readonly port: number } & AsyncDisposable> {
	const child = spawn(process.execPath, [join(import.meta.dirname, 'peer-receiver.ts'), socketDir], {
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
	return {
		port: Number(line),
		async [Symbol.asyncDispose]() {
			child.kill('SIGTERM');
			await once(child, 'close');
		},
	};
}
