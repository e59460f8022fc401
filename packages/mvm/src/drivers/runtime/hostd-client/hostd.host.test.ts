// The contract suite through a real mvm-hostd process over its socket, killed with SIGKILL where the suite restarts it.
import { readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { GuestConfig, parseInstanceId } from '@mvm/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostdProcess } from '../../../../../../test/support/hostd-process.ts';
import { makeProbeFolders, PROBE_IMAGE_HASH, type ProbeFolders } from '../../../../../../test/support/probe-host.ts';
import { type RuntimeHarness, runtimeContract } from '../../../ports/runtime.contract.ts';
import { systemClock } from '../../clock/system.ts';
import { makeHostdClient } from './client.ts';

const options = () => ({ signal: AbortSignal.timeout(20_000) });

let folders: ProbeFolders;
beforeAll(() => {
	folders = makeProbeFolders();
});
afterAll(() => folders.remove());

runtimeContract('process driver through hostd', {
	skips: {},
	harness: async (): Promise<RuntimeHarness> => {
		const hostd = new HostdProcess({ folders, swapMib: 512 });
		let client = await hostd.start();
		return {
			image: PROBE_IMAGE_HASH,
			clock: systemClock,
			runtime: () => client,
			restart: async () => {
				await hostd.end('SIGKILL');
				client = await hostd.start();
			},
			[Symbol.asyncDispose]: async () => {
				expect(await hostd.end('SIGINT')).toBe(0);
				expect(readFileSync('/proc/swaps', 'utf8')).not.toContain(folders.dataDir);
			},
		};
	},
});

describe('hostd', () => {
	it('lets nobody but the daemon near its socket, and one hostd near its data', async () => {
		const hostd = new HostdProcess({ folders });
		await hostd.start();
		try {
			expect(statSync(hostd.socketPath).mode & 0o777).toBe(0o600);
			expect(statSync(`${folders.runDir}/admin`).mode & 0o777).toBe(0o700);
			const second = new HostdProcess({ folders });
			const code = await new Promise((resolve) => second.spawn('ignore').once('exit', resolve));
			expect(code).toBe(1);
		} finally {
			await hostd.end('SIGTERM');
		}
	});

	it('answers bad requests with problems and goes on', async () => {
		const hostd = new HostdProcess({ folders });
		const client = await hostd.start();
		try {
			const post = (path: string, body: string) => rawPost(hostd.socketPath, path, body);
			expect(await post('/rpc/no_such', '{}')).toMatchObject({ status: 404, code: 'NOT_FOUND' });
			expect(await post('/elsewhere', '{}')).toMatchObject({ status: 404 });
			expect(await post('/rpc/freeze', 'not json')).toMatchObject({ status: 400, code: 'INVALID_DOCUMENT' });
			expect(await post('/rpc/freeze', '{"instance_id":"../../etc"}')).toMatchObject({ status: 400, code: 'INVALID_DOCUMENT' });
			expect(await post('/rpc/freeze', '{"instance_id":"i-0badbeef"}')).toMatchObject({
				status: 404,
				code: 'INSTANCE_NOT_FOUND',
			});
			expect(await post('/rpc/checkpoint_data', 'garbage')).toMatchObject({ code: 'FRAME_MALFORMED' });
			await new Promise<void>((resolve) => {
				const socket = connect(hostd.socketPath, () => socket.end('garbage\r\n\r\n'));
				socket.on('close', () => resolve());
				socket.on('error', () => {});
				socket.resume();
			});
			expect(await client.adopt(options())).toEqual([]);
		} finally {
			await hostd.end('SIGTERM');
		}
	});

	it('ends on SIGTERM without touching a sandbox', async () => {
		const hostd = new HostdProcess({ folders });
		const instanceId = parseInstanceId('i-0000dead');
		let client = await hostd.start();
		try {
			await client.prepare({ instanceId, dataDiskMib: 32 }, options());
			const config = GuestConfig.parse({ instance_id: instanceId, pool_id: 'p', tenant_id: 't', vcpus: 1, mem_mib: 128 });
			const size = { vcpus: 1, memMib: 128, pidsMax: 64 };
			const image = PROBE_IMAGE_HASH;
			const booted = await client.boot({ instanceId, incarnation: 1, token: 't', image, ...size, config }, options());
			expect(await hostd.end('SIGTERM')).toBe(0);
			client = await hostd.start();
			expect(await client.inspect(instanceId, options())).toMatchObject({ state: 'running', pid: booted.pid });
		} finally {
			await client.destroy(instanceId, options());
			await hostd.end('SIGTERM');
		}
	});

	it('is reported as unavailable when it is not there', async () => {
		const client = makeHostdClient({ socketPath: `${folders.runDir}/admin/nobody.sock` });
		await expect(client.adopt(options())).rejects.toMatchObject({ code: 'HOSTD_UNAVAILABLE' });
	});
});

async function rawPost(socketPath: string, path: string, body: string): Promise<Record<string, unknown>> {
	const { request } = await import('node:http');
	return new Promise((resolve, reject) => {
		const sent = request({ socketPath, path, method: 'POST' }, async (answer) => {
			let text = '';
			for await (const chunk of answer) text += chunk;
			resolve({ status: answer.statusCode, ...JSON.parse(text) });
		});
		sent.on('error', reject);
		sent.end(body);
	});
}
