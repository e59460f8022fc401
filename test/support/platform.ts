// The whole platform for one test: supervisor, hostd, daemon and Postgres as real processes with folders and a port of their own.
// Every wait watches events or logs and has a bound. Its end fails the test when anything of it is left on the host.
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DeployRequest, type EventView, type InstanceId, type TenantId } from '@mvm/protocol';
import { MvmClient } from '@mvm/sdk';
import pg from 'pg';
import { findLeaks, sweep } from './platform-leaks.ts';
import { LogFollower } from './platform-logs.ts';

const ENTRY = fileURLToPath(new URL('./platform-up.ts', import.meta.url));
const READY_MS = 120_000;
const DOWN_MS = 120_000;

export interface PlatformOptions {
	/** Lines of mvm.toml after `listen`. */
	readonly config?: string;
	/** `host:port` of stand-ins that endpoints may reach. */
	readonly upstreams?: readonly string[];
	/** Called with the folders before the supervisor starts: small disks, parent control groups, … */
	readonly before?: (folders: PlatformFolders) => void;
	/** Takes back what `before` did; called when every process has ended. */
	readonly after?: (folders: PlatformFolders) => void;
	/** Words in front of the supervisor's command line: setpriv, unshare, … */
	readonly wrap?: (argv: readonly string[]) => readonly string[];
	readonly env?: Readonly<Record<string, string>>;
}

export interface PlatformFolders {
	readonly root: string;
	readonly data: string;
	readonly run: string;
	readonly logs: string;
}

export type ProcessName = 'supervisor' | 'hostd' | 'daemon' | 'postmaster';

export class TestPlatform {
	readonly folders: PlatformFolders;
	/** `http://127.0.0.1:<port>`. */
	readonly edge: string;
	readonly client: MvmClient;
	/** Everything that happened, of all tenants, in order. */
	readonly events: EventView[] = [];
	readonly daemonLog: LogFollower;
	readonly hostdLog: LogFollower;
	readonly #up: ChildProcess;
	readonly #upEnded: Promise<number | null>;
	readonly #said: string[];
	readonly #after: PlatformOptions['after'];
	readonly #following = new AbortController();
	readonly #waiters = new Set<() => void>();

	private constructor(init: {
		folders: PlatformFolders;
		edge: string;
		up: ChildProcess;
		ended: Promise<number | null>;
		said: string[];
		after: PlatformOptions['after'];
	}) {
		this.folders = init.folders;
		this.edge = init.edge;
		this.#up = init.up;
		this.#upEnded = init.ended;
		this.#said = init.said;
		this.#after = init.after;
		this.client = new MvmClient({ socketPath: this.adminSocket });
		this.daemonLog = new LogFollower(join(init.folders.logs, 'daemon.log'));
		this.hostdLog = new LogFollower(join(init.folders.logs, 'hostd.log'));
		for (const log of [this.daemonLog, this.hostdLog]) log.on(() => this.#wakeWaiters());
		void this.#follow();
	}

	static async start(options: PlatformOptions = {}): Promise<TestPlatform> {
		const root = mkdtempSync(join(tmpdir(), 'mvm-t-'));
		chmodSync(root, 0o755);
		const folders = { root, data: join(root, 'data'), run: join(root, 'run'), logs: join(root, 'data/logs') };
		try {
			for (const folder of [folders.data, folders.run]) mkdirSync(folder, { mode: 0o755 });
			options.before?.(folders);
			mkdirSync(folders.logs, { recursive: true });
			const port = await freePort();
			const allow = (options.upstreams ?? []).map((url) => JSON.stringify(new URL(url).host)).join(', ');
			const config = [
				`listen = "127.0.0.1:${port}"`,
				`upstream_allow = [${allow}]`,
				'policy_interval_ms = 200',
				options.config ?? '',
			];
			writeFileSync(join(folders.data, 'mvm.toml'), `${config.join('\n')}\n`);
			const argv = [process.execPath, ENTRY, folders.data, folders.run];
			// Should this process be killed, the supervisor puts everything to rest by itself.
			const [command = '', ...args] = options.wrap?.(argv) ?? ['setpriv', '--pdeathsig', 'TERM', '--', ...argv];
			const env = { PATH: process.env['PATH'] ?? '', ...options.env };
			const up = spawn(command, args, { env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], detached: true });
			const said: string[] = [];
			const ended = new Promise<number | null>((resolve) => up.once('close', resolve));
			const ready = Promise.withResolvers<void>();
			for (const stream of [up.stdout, up.stderr])
				createInterface({ input: stream }).on('line', (line) => {
					said.push(line);
					if (line.startsWith('ready')) ready.resolve();
				});
			const timer = setTimeout(() => ready.reject(new Error('the platform was not ready in time')), READY_MS);
			void ended.then((code) => ready.reject(new Error(`the supervisor ended with ${code}`)));
			try {
				await ready.promise;
			} catch (error) {
				up.kill('SIGKILL');
				throw new Error(`${(error as Error).message}\n${said.join('\n')}\n${lastLines(folders.logs)}`);
			} finally {
				clearTimeout(timer);
			}
			return new TestPlatform({ folders, edge: `http://127.0.0.1:${port}`, up, ended, said, after: options.after });
		} catch (error) {
			sweep(root);
			rmSync(root, { recursive: true, force: true });
			throw error;
		}
	}

	get adminSocket(): string {
		return join(this.folders.run, 'admin/mvm.sock');
	}

	/** Undefined while it is not there. */
	pid(name: ProcessName): number | undefined {
		if (name === 'supervisor') return this.#up.pid;
		if (name === 'postmaster') {
			const text = readText(join(this.folders.data, 'postgres/data/postmaster.pid'));
			const pid = Number(text.split('\n')[0]);
			// Between two servers the file may name the daemon itself.
			return pid > 0 && readText(`/proc/${pid}/comm`).trim() === 'postgres' ? pid : undefined;
		}
		const children = readText(`/proc/${this.#up.pid}/task/${this.#up.pid}/children`)
			.trim()
			.split(' ')
			.filter(Boolean)
			.map(Number);
		return children.find((pid) => readText(`/proc/${pid}/cmdline`).includes(`/main/${name}.js\0`));
	}

	/** Kills with SIGKILL; false when it was not there. */
	kill(name: ProcessName): boolean {
		const pid = this.pid(name);
		if (pid === undefined) return false;
		process.kill(pid, 'SIGKILL');
		return true;
	}

	/** Resolves when the platform answers that it is ready. */
	async ready(timeoutMs = 60_000): Promise<void> {
		await this.until('the platform to be ready', () => this.fetchReady(), { timeoutMs, everyMs: 50 });
	}

	async fetchReady(): Promise<boolean> {
		const answer = await fetch(`${this.edge}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
		await answer?.body?.cancel();
		return answer?.ok === true;
	}

	/** The first event that matches, past ones from `from` on included. */
	async event(
		what: string,
		matches: (event: EventView) => boolean,
		options: { timeoutMs?: number; from?: number } = {},
	): Promise<EventView> {
		let at = options.from ?? 0;
		const found = await this.until(
			`event: ${what}`,
			() => {
				for (; at < this.events.length; at += 1) {
					const event = this.events[at];
					if (event !== undefined && matches(event)) return event;
				}
				return undefined;
			},
			options,
		);
		return found;
	}

	/** Looks again whenever something happened (an event, a log line) and at a slow beat; throws with what was seen last. */
	async until<T>(
		what: string,
		look: () => T | undefined | false | Promise<T | undefined | false>,
		options: { timeoutMs?: number; everyMs?: number } = {},
	): Promise<T> {
		const deadline = performance.now() + (options.timeoutMs ?? 60_000);
		for (;;) {
			const changed = Promise.withResolvers<void>();
			this.#waiters.add(changed.resolve);
			try {
				const found = await look();
				if (found !== undefined && found !== false) return found;
				if (performance.now() > deadline)
					throw new Error(`waited ${(options.timeoutMs ?? 60_000) / 1000} s for ${what}\n${this.#story()}`);
				const timer = setTimeout(changed.resolve, options.everyMs ?? 250);
				await changed.promise;
				clearTimeout(timer);
			} finally {
				this.#waiters.delete(changed.resolve);
			}
		}
	}

	instance(id: InstanceId) {
		return this.client.call('instance.get', { params: { instance: id } });
	}

	/** The tenant's only instance. */
	async onlyInstance(tenantId: TenantId) {
		const { items } = await this.client.call('instance.list', { query: { tenantId } });
		const [only] = items;
		if (only === undefined || items.length !== 1) throw new Error(`${tenantId} has ${items.length} instances`);
		return only;
	}

	untilState(id: InstanceId, state: string, timeoutMs = 60_000) {
		return this.until(
			`${id} to be ${state}`,
			async () => {
				const view = await this.instance(id).catch(() => undefined);
				return view?.state === state && view.operation === null ? view : undefined;
			},
			{ timeoutMs },
		);
	}

	/** Sends a deploy; everything in wire form. */
	deploy(request: unknown) {
		return this.client.call('deploy.apply', { body: DeployRequest.parse(request) }, { signal: AbortSignal.timeout(300_000) });
	}

	/** A connection as the database's superuser, for looking only. The caller ends it. */
	async database(): Promise<pg.Client> {
		const client = new pg.Client({ host: join(this.folders.run, 'pg'), user: 'mvm_super', database: 'mvm' });
		client.on('error', () => {});
		await client.connect();
		return client;
	}

	/** Ends everything. Throws naming whatever was left behind; the folders are gone in any case. */
	async stop(): Promise<void> {
		const { root } = this.folders;
		const problems: string[] = [];
		try {
			await this.#destroyTenants().catch((error: unknown) => problems.push(`tenants not destroyed: ${String(error)}`));
			this.#following.abort();
			this.client.close();
			this.#up.kill('SIGTERM');
			const timer = setTimeout(() => {
				problems.push(`the supervisor did not end within ${DOWN_MS / 1000} s`);
				this.#up.kill('SIGKILL');
			}, DOWN_MS);
			const code = await this.#upEnded;
			clearTimeout(timer);
			if (code !== 0) problems.push(`the supervisor ended with ${code}`);
			for (const log of [this.daemonLog, this.hostdLog]) log.close();
			this.#after?.(this.folders);
			problems.push(...findLeaks(root));
			if (problems.length > 0) problems.push(this.#story(), lastLines(this.folders.logs));
		} finally {
			sweep(root);
			keepLogs(this.folders);
			rmSync(root, { recursive: true, force: true });
		}
		if (problems.length > 0) throw new Error(`the platform did not end cleanly:\n${problems.join('\n')}`);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.stop();
	}

	async #destroyTenants(): Promise<void> {
		if (!(await this.fetchReady())) return;
		const { items } = await this.client.call('tenant.list', undefined as never);
		for (const tenant of items)
			await this.client.call('tenant.destroy', { params: { tenant: tenant.id } }, { signal: AbortSignal.timeout(60_000) });
	}

	async #follow(): Promise<void> {
		const { signal } = this.#following;
		for await (const event of this.client.follow({ after: '0' }, { signal })) {
			this.events.push(event);
			this.#wakeWaiters();
		}
	}

	#wakeWaiters(): void {
		for (const wake of this.#waiters) wake();
	}

	#story(): string {
		const events = this.events
			.slice(-25)
			.map((e) => `  ${e.at} ${e.kind} ${e.instanceId ?? ''} ${JSON.stringify(e.detail).slice(0, 300)}`);
		return [`said: ${this.#said.join(' | ')}`, 'last events:', ...events, lastLines(this.folders.logs)].join('\n');
	}
}

/** MVM_TEST_KEEP_LOGS names a folder that gets a copy of every platform's logs. */
function keepLogs({ root, logs }: PlatformFolders): void {
	const keep = process.env['MVM_TEST_KEEP_LOGS'];
	if (keep === undefined || !existsSync(logs)) return;
	const target = join(keep, root.split('/').at(-1) ?? 'platform');
	mkdirSync(target, { recursive: true });
	for (const name of readdirSync(logs)) writeFileSync(join(target, name), readText(join(logs, name)));
}

function lastLines(logs: string): string {
	if (!existsSync(logs)) return '';
	return readdirSync(logs)
		.map(
			(name) =>
				`${name}:\n${readText(join(logs, name))
					.trim()
					.split('\n')
					.slice(-12)
					.map((line) => `  ${line.slice(0, 600)}`)
					.join('\n')}`,
		)
		.join('\n');
}

export function readText(path: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return '';
	}
}

async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	const { port } = server.address() as AddressInfo;
	await new Promise((resolve) => server.close(resolve));
	return port;
}
