// A real hostd for tests as a child process: started, killed, asked. The entry it runs is hostd-main.ts beside this file.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { makeHostdClient } from '../../packages/mvm/src/drivers/runtime/hostd-client/client.ts';
import type { Runtime } from '../../packages/mvm/src/ports/runtime.ts';
import type { ProbeFolders } from './probe-host.ts';

export interface HostdProcessOptions {
	readonly folders: ProbeFolders;
	/** Size of a swap file that it manages while it runs; absent: swap is left alone. */
	readonly swapMib?: number;
	/** Run as this user and group, from a copy of the checkout that they can read. */
	readonly as?: { readonly uid: number; readonly copy: string };
}

export class HostdProcess {
	readonly socketPath: string;
	readonly #options: HostdProcessOptions;
	#child: ChildProcess | undefined;

	constructor(options: HostdProcessOptions) {
		this.#options = options;
		this.socketPath = `${options.folders.runDir}/admin/hostd.sock`;
	}

	spawn(stdio: 'inherit' | 'ignore'): ChildProcess {
		const { folders, as } = this.#options;
		const { dataDir, runDir, dist, claimsDir } = folders;
		const entry =
			as === undefined ? fileURLToPath(new URL('hostd-main.ts', import.meta.url)) : `${as.copy}/test/support/hostd-main.ts`;
		const node = as === undefined ? process.execPath : `${as.copy}/bin/node`;
		const argv = [node, entry, dataDir, runDir, dist, claimsDir, String(this.#options.swapMib ?? 0)];
		const drop =
			as === undefined ? [] : ['setpriv', '--reuid', String(as.uid), '--regid', String(as.uid), '--clear-groups', '--'];
		const [command = '', ...args] = [...drop, ...argv];
		this.#child = spawn(command, args, { stdio, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, cwd: '/' });
		return this.#child;
	}

	/** Resolves when it answers. */
	async start(): Promise<Runtime> {
		const child = this.spawn('inherit');
		const client = makeHostdClient({ socketPath: this.socketPath });
		const deadline = performance.now() + 20_000;
		for (;;) {
			try {
				await client.capabilities({ signal: AbortSignal.timeout(20_000) });
				return client;
			} catch (error) {
				if (child.exitCode !== null || performance.now() > deadline) throw error;
				await new Promise((resolve) => setTimeout(resolve, 20));
			}
		}
	}

	/** Resolves with the exit code; null when it was killed. */
	async end(signal: NodeJS.Signals): Promise<number | null> {
		const child = this.#child;
		if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
		const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
		child.kill(signal);
		return ended;
	}
}
