// The demo's own platform: folders, a configuration on a free port, `mvm up` as a child, and mvm's commands as a person would type
// them. It only ever touches its own folders and processes.
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { MvmClient } from '@mvm/sdk';

const CLI = resolve(import.meta.dirname, '../../packages/mvm/src/cli/main.ts');
const READY_MS = 120_000;
const DOWN_MS = 60_000;

export interface Folders {
	/** Kept between runs: installed images and what `up` stages. */
	readonly data: string;
	/** Short: socket paths end at 107 bytes. */
	readonly run: string;
	readonly log: string;
}

/** As root beside the system's own, else in the user's cache; or both below `dir`, which must be short. */
export function demoFolders(dir: string | undefined): Folders {
	const { uid } = userInfo();
	const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
	const data = dir !== undefined ? join(dir, 'data') : uid === 0 ? '/var/lib/mvm-demo' : join(cache, 'mvm-demo');
	const runtime = process.env['XDG_RUNTIME_DIR'] ?? tmpdir();
	const run = dir !== undefined ? join(dir, 'run') : uid === 0 ? '/run/mvm-demo' : join(runtime, `mvm-demo-${uid}`);
	return { data, run, log: join(data, 'demo.log') };
}

/** A command that ended with something else than 0; `message` has its words. */
export class CommandFailed extends Error {}

export class Platform {
	readonly folders: Folders;
	readonly edge: string;
	/** For examples with this run's ports and secrets; removed at the end. */
	readonly work: string;
	readonly #env: NodeJS.ProcessEnv;
	readonly #children = new Set<ChildProcess>();
	#up: ChildProcess | null = null;
	/** The last of what `up` said, for the reason when it ends. */
	#said = '';
	#ended: Promise<number | null> | null = null;
	#log: ReturnType<typeof createWriteStream> | null = null;

	private constructor(input: { folders: Folders; edge: string; work: string }) {
		const { folders } = input;
		this.folders = folders;
		this.edge = input.edge;
		this.work = input.work;
		this.#env = { ...process.env, MVM_DATA_DIR: folders.data, MVM_RUN_DIR: folders.run };
	}

	/** Ends what an earlier run left, empties its state but for images, writes the configuration, starts and waits for readiness. */
	static async start(input: { folders: Folders; upstreams: readonly string[]; signal: AbortSignal }): Promise<Platform> {
		const { folders } = input;
		const port = await freePort();
		const work = await mkdtemp(join(tmpdir(), 'mvm-demo-'));
		const platform = new Platform({ folders, edge: `http://127.0.0.1:${port}`, work });
		await mkdir(folders.data, { recursive: true });
		await chmod(folders.data, 0o755); // the daemon runs as another user
		await platform.#claim();
		platform.#log = createWriteStream(folders.log, { flags: 'w', mode: 0o600 });
		const allow = input.upstreams.map((upstream) => JSON.stringify(new URL(upstream).host)).join(', ');
		await writeFile(join(folders.data, 'mvm.toml'), `listen = "127.0.0.1:${port}"\nupstream_allow = [${allow}]\n`);
		const child = spawn(process.execPath, [CLI, 'up'], { env: platform.#env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
		platform.#up = child;
		platform.#ended = new Promise((done) => child.once('close', done));
		for (const stream of [child.stdout, child.stderr]) {
			stream.pipe(platform.#log, { end: false });
			stream.on('data', (chunk: Buffer) => {
				platform.#said = `${platform.#said}${chunk.toString()}`.slice(-2_000);
			});
		}
		try {
			await platform.#untilReady(input.signal);
		} catch (error) {
			await platform.stop();
			throw error;
		}
		return platform;
	}

	/** Runs `mvm <args>`; resolves with stdout, each stderr line goes to `progress`. Rejects with CommandFailed. */
	async run(
		args: readonly string[],
		options: { signal: AbortSignal; progress?: (line: string) => void; cwd?: string },
	): Promise<string> {
		const child = this.#spawn(args, options.cwd);
		const stop = (): void => void child.kill('SIGTERM');
		options.signal.addEventListener('abort', stop, { once: true });
		let stdout = '';
		let said = '';
		child.stdout?.setEncoding('utf8').on('data', (text: string) => {
			stdout += text;
		});
		if (child.stderr !== null)
			createInterface({ input: child.stderr }).on('line', (line) => {
				this.#log?.write(`${line}\n`);
				said = `${said}${line}\n`.slice(-4_000);
				options.progress?.(line);
			});
		const code = await new Promise<number | null>((done) => child.once('close', done));
		options.signal.removeEventListener('abort', stop);
		options.signal.throwIfAborted();
		if (code !== 0) throw new CommandFailed(`mvm ${args.join(' ')} ended with ${code}\n${said.trim()}`);
		return stdout;
	}

	/** A client of its control API; the caller closes it. */
	client(): MvmClient {
		return new MvmClient({ socketPath: join(this.folders.run, 'admin/mvm.sock') });
	}

	/** Null while it runs; a sentence when it ended by itself. */
	problem(): string | null {
		const { exitCode, signalCode } = this.#up ?? {};
		if (exitCode === null && signalCode === null) return null;
		return `the platform ended (${exitCode ?? signalCode})\n${this.#said.trim()}`;
	}

	/** `mvm down`, then what is left of our own children. The tenant is destroyed before by whoever wants it gone. */
	async stop(): Promise<void> {
		for (const child of this.#children) child.kill('SIGTERM');
		if (this.#up !== null && this.problem() === null) {
			await this.run(['down'], { signal: AbortSignal.timeout(DOWN_MS) }).catch(() => undefined);
			const late = await Promise.race([this.#ended?.then(() => false), delay(5_000, true)]);
			if (late === true) this.#up.kill('SIGTERM');
			const stuck = await Promise.race([this.#ended?.then(() => false), delay(15_000, true)]);
			if (stuck === true) this.#up.kill('SIGKILL');
		}
		await rm(this.work, { recursive: true, force: true });
		await rm(join(this.folders.data, 'demo.pid'), { force: true });
		this.#log?.end();
	}

	#spawn(args: readonly string[], cwd?: string): ChildProcess {
		const child = spawn(process.execPath, [CLI, ...args], {
			env: this.#env,
			stdio: ['ignore', 'pipe', 'pipe'],
			...(cwd ? { cwd } : {}),
		});
		this.#children.add(child);
		child.once('close', () => this.#children.delete(child));
		return child;
	}

	/** One demo at a time per machine and user: they share the image store. */
	async #claim(): Promise<void> {
		const path = join(this.folders.data, 'demo.pid');
		const old = Number(await readFile(path, 'utf8').catch(() => '0'));
		if (old > 0 && isAlive(old)) throw new Error(`another demo runs (pid ${old}); end it first`);
		if (old > 0) await this.run(['down'], { signal: AbortSignal.timeout(DOWN_MS) }).catch(() => undefined);
		await rm(path, { force: true });
		const file = await open(path, 'wx', 0o600);
		await file.writeFile(String(process.pid));
		await file.close();
	}

	async #untilReady(signal: AbortSignal): Promise<void> {
		const limit = AbortSignal.any([signal, AbortSignal.timeout(READY_MS)]);
		for (;;) {
			const problem = this.problem();
			if (problem !== null) throw new Error(problem);
			const ready = await fetch(`${this.edge}/readyz`, { signal: AbortSignal.any([limit, AbortSignal.timeout(2_000)]) }).catch(
				() => null,
			);
			if (ready?.ok === true) return;
			if (limit.aborted)
				throw new Error(signal.aborted ? 'interrupted' : `the platform was not ready after ${READY_MS / 1000} s`);
			await delay(200);
		}
	}
}

export async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
	const address = server.address();
	await new Promise((done) => server.close(done));
	return typeof address === 'object' && address !== null ? address.port : 0;
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
}
