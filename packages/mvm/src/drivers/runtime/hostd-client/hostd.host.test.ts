// The contract suite through a real mvm-hostd process over its socket, killed with SIGKILL where the suite restarts it.
import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeProbeFolders, PROBE_IMAGE_HASH, type ProbeFolders } from '../../../../../../test/support/probe-host.ts';
import { type RuntimeHarness, runtimeContract } from '../../../ports/runtime.contract.ts';
import type { Runtime } from '../../../ports/runtime.ts';
import { systemClock } from '../../clock/system.ts';
import { makeHostdClient } from './client.ts';

const ENTRY = fileURLToPath(new URL('../../../../../../test/support/hostd-main.ts', import.meta.url));
const options = () => ({ signal: AbortSignal.timeout(20_000) });

class HostdProcess {
	readonly socketPath: string;
	readonly #folders: ProbeFolders;
	#child: ChildProcess | undefined;

	constructor(folders: ProbeFolders) {
		this.#folders = folders;
		this.socketPath = `${folders.runDir}/admin/hostd.sock`;
	}

	spawn(stdio: 'inherit' | 'ignore'): ChildProcess {
		const { dataDir, runDir, dist, claimsDir } = this.#folders;
		this.#child = spawn(process.execPath, [ENTRY, dataDir, runDir, dist, claimsDir], { stdio, env: {} });
		return this.#child;
	}

	async start(): Promise<Runtime> {
		const child = this.spawn('inherit');
		const client = makeHostdClient({ socketPath: this.socketPath });
		const deadline = performance.now() + 15_000;
		for (;;) {
			try {
				await client.capabilities(options());
				return client;
			} catch (error) {
				if (child.exitCode !== null || performance.now() > deadline) throw error;
				await new Promise((resolve) => setTimeout(resolve, 20));
			}
		}
	}

	/** Resolves with the exit code. */
	async end(signal: NodeJS.Signals): Promise<number | null> {
		const child = this.#child;
		if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
		const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
		child.kill(signal);
		return ended;
	}
}

let folders: ProbeFolders;
beforeAll(() => {
	folders = makeProbeFolders();
});
afterAll(() => folders.remove());

runtimeContract('process driver through hostd', {
	skips: { data: 'the walk of /data is not part of this build' },
	harness: async (): Promise<RuntimeHarness> => {
		const hostd = new HostdProcess(folders);
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
				expect(await hostd.end('SIGTERM')).toBe(0);
			},
		};
	},
});

describe('hostd', () => {
	it('lets nobody but the daemon near its socket, and one hostd near its data', async () => {
		const hostd = new HostdProcess(folders);
		await hostd.start();
		try {
			expect(statSync(hostd.socketPath).mode & 0o777).toBe(0o600);
			expect(statSync(`${folders.runDir}/admin`).mode & 0o777).toBe(0o700);
			const second = new HostdProcess(folders);
			const code = await new Promise((resolve) => second.spawn('ignore').once('exit', resolve));
			expect(code).toBe(1);
		} finally {
			await hostd.end('SIGTERM');
		}
	});

	it('answers bad requests with problems and goes on', async () => {
		const hostd = new HostdProcess(folders);
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
