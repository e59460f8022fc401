// The embedded Postgres: started by the daemon's user, found again after a daemon crash, restarted when it dies, stopped
// on shutdown. Constructed in main/ and test support; reached through the socket folder only, never TCP.
//
//   start ──► (running already? adopt : spawn) ──► up ──ended──► wait, adopt or spawn ──► up
//                                                  └─ stop() ──► fast shutdown        └─ detach() ──► left running
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { MvmError } from '@mvm/protocol';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Clock } from '../../ports/clock.ts';
import { type ClusterOptions, checkCluster, ensureCluster, SUPERUSER, spawnServer } from './cluster.ts';
import { disownStaleLocks, findPostmaster, isPostmasterOf, signalPostmaster } from './postmaster.ts';

export interface EmbeddedPostgresOptions extends ClusterOptions {
	readonly clock: Clock;
	readonly log: Logger;
	/** A server that replays its log after a crash answers only then. Default 120 s. */
	readonly startTimeoutMs?: number;
}

export interface EmbeddedPostgres extends AsyncDisposable {
	readonly socketDir: string;
	readonly superuser: string;
	/** Process id of the postmaster; 0 while it is down. */
	readonly pid: number;
	/** True when the server that runs now was already there. */
	readonly adopted: boolean;
	/** How often it was brought back since `start`. */
	readonly restarts: number;
	/** Ends watching and shuts the server down: connections are closed, nothing committed is lost. */
	stop(): Promise<void>;
	/** Ends watching and leaves the server running for the next daemon. */
	detach(): Promise<void>;
}

const POLL_MS = 10;
const ADOPTED_POLL_MS = 250;
const MIN_RESTART_MS = 20;
const MAX_RESTART_MS = 5_000;
const FAST_STOP_MS = 15_000;
const IMMEDIATE_STOP_MS = 5_000;

/**
 * Makes the data directory when there is none, adopts or starts the server, and watches it. Throws HOST_UNSUPPORTED
 * (root without a user, wrong version, path too long), DISK_FULL or STORE_UNAVAILABLE with the last lines of its log.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
	checkCluster(options);
	const server = new Server(options);
	await server.start();
	return server;
}

class Server implements EmbeddedPostgres {
	readonly superuser = SUPERUSER;
	readonly #options: EmbeddedPostgresOptions;
	readonly #stopping = new AbortController();
	#pid = 0;
	#adopted = false;
	#restarts = 0;
	/** Resolves when the server that runs now has ended. */
	#ended: Promise<void> = Promise.resolve();
	#watch: Promise<void> = Promise.resolve();

	constructor(options: EmbeddedPostgresOptions) {
		this.#options = options;
	}

	get socketDir(): string {
		return this.#options.socketDir;
	}
	get pid(): number {
		return this.#pid;
	}
	get adopted(): boolean {
		return this.#adopted;
	}
	get restarts(): number {
		return this.#restarts;
	}

	async start(): Promise<void> {
		await this.#bringUp();
		this.#watch = this.#keepUp();
	}

	async stop(): Promise<void> {
		const { dataDir, clock } = this.#options;
		this.#stopping.abort(new Error('the database server is being stopped'));
		await this.#watch;
		const running = findPostmaster(dataDir);
		if (running === undefined) return;
		for (const [signal, patienceMs] of [
			['SIGINT', FAST_STOP_MS],
			['SIGQUIT', IMMEDIATE_STOP_MS],
			['SIGKILL', IMMEDIATE_STOP_MS],
		] as const) {
			signalPostmaster(running.pid, dataDir, signal);
			const until = clock.monotonic() + patienceMs;
			while (clock.monotonic() < until) {
				if (!isPostmasterOf(running.pid, dataDir)) {
					this.#pid = 0;
					return;
				}
				await clock.sleep(POLL_MS, { signal: new AbortController().signal });
			}
			this.#options.log.warn({ signal, pid: running.pid }, 'database server does not stop');
		}
	}

	async detach(): Promise<void> {
		this.#stopping.abort(new Error('the database server is left running'));
		await this.#watch;
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.stop();
	}

	/** Ends with `stop` or `detach`. The delay between tries grows to MAX_RESTART_MS and there is no last try. */
	async #keepUp(): Promise<void> {
		const { clock, log } = this.#options;
		const { signal } = this.#stopping;
		const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
		let delayMs = MIN_RESTART_MS;
		while (!signal.aborted) {
			await Promise.race([this.#ended, aborted]);
			if (signal.aborted) return;
			this.#pid = 0;
			log.warn({ delay_ms: delayMs }, 'database server ended');
			await clock.sleep(delayMs, { signal }).catch(() => {}); // aborted: checked below
			if (signal.aborted) return;
			delayMs = Math.min(MAX_RESTART_MS, delayMs * 2);
			try {
				const startedAt = clock.monotonic();
				await this.#bringUp();
				this.#restarts += 1;
				log.info({ pid: this.#pid, start_ms: Math.round(clock.monotonic() - startedAt) }, 'database server restarted');
				delayMs = MIN_RESTART_MS;
			} catch (err) {
				if (!signal.aborted) log.error({ err }, 'database server does not start');
				this.#ended = Promise.resolve();
			}
		}
	}

	async #bringUp(): Promise<void> {
		if (await this.#adopt()) return;
		await ensureCluster(this.#options);
		disownStaleLocks(this.#options.dataDir, this.#options.socketDir);
		const child = spawnServer(this.#options);
		const failed = new Promise<never>((_, reject) => child.once('error', reject));
		failed.catch(() => {}); // raced below; an error after the start is an end
		const ended = new Promise<void>((resolve) => {
			child.once('exit', () => resolve());
			child.once('error', () => resolve());
		});
		child.unref();
		await Promise.race([this.#untilAnswers(child), failed]);
		this.#pid = child.pid ?? 0;
		this.#adopted = false;
		this.#ended = ended;
	}

	/** Takes over a server that runs on the data directory already; one whose socket is gone is stopped instead. */
	async #adopt(): Promise<boolean> {
		const { dataDir, socketDir, log } = this.#options;
		const found = findPostmaster(dataDir);
		if (found === undefined) return false;
		const gone = this.#gone(found.pid);
		if (found.socketDir !== '' && found.socketDir !== socketDir) {
			log.warn({ pid: found.pid }, 'database server listens elsewhere and is restarted');
			signalPostmaster(found.pid, dataDir, 'SIGINT');
			await gone;
			return false;
		}
		const until = this.#options.clock.monotonic() + 5_000;
		while (isPostmasterOf(found.pid, dataDir)) {
			const answer = await this.#probe();
			if (answer === 'up') {
				this.#pid = found.pid;
				this.#adopted = true;
				this.#ended = gone;
				log.info({ pid: found.pid }, 'database server adopted');
				return true;
			}
			if (answer === 'silent' && this.#options.clock.monotonic() > until) {
				log.warn({ pid: found.pid }, 'database server does not answer and is restarted');
				signalPostmaster(found.pid, dataDir, 'SIGQUIT');
				await gone;
				return false;
			}
			await this.#options.clock.sleep(POLL_MS * 2, { signal: this.#stopping.signal });
		}
		return false;
	}

	async #gone(pid: number): Promise<void> {
		const { clock, dataDir } = this.#options;
		const { signal } = this.#stopping;
		while (!signal.aborted && isPostmasterOf(pid, dataDir)) await clock.sleep(ADOPTED_POLL_MS, { signal }).catch(() => {}); // aborted
	}

	/** Bounded by startTimeoutMs and by the life of the process. */
	async #untilAnswers(child: ChildProcess): Promise<void> {
		const { clock, startTimeoutMs = 120_000 } = this.#options;
		const until = clock.monotonic() + startTimeoutMs;
		for (;;) {
			if ((await this.#probe()) === 'up') return;
			if (child.exitCode !== null || child.signalCode !== null) throw this.#startFailure('ended while starting');
			if (clock.monotonic() > until) {
				child.kill('SIGQUIT');
				throw this.#startFailure('did not answer in time');
			}
			await clock.sleep(POLL_MS, { signal: this.#stopping.signal });
		}
	}

	/** `busy`: it starts, recovers or stops. `silent`: nobody listens. */
	async #probe(): Promise<'up' | 'busy' | 'silent'> {
		const client = new pg.Client({
			host: this.#options.socketDir,
			database: 'postgres',
			user: SUPERUSER,
			connectionTimeoutMillis: 2_000,
		});
		client.on('error', () => {});
		try {
			await client.connect();
			return 'up';
		} catch (error) {
			return (error as { code?: string }).code?.startsWith('57P') === true ? 'busy' : 'silent';
		} finally {
			await client.end().catch(() => {});
		}
	}

	#startFailure(what: string): MvmError {
		const tail = logTail(this.#options.logFile);
		const isFull = /No space left on device/.test(tail);
		return new MvmError(isFull ? 'DISK_FULL' : 'STORE_UNAVAILABLE', `the embedded database server ${what}`, {
			details: { log_file: this.#options.logFile, last_lines: tail.split('\n').slice(-8) },
		});
	}
}

function logTail(path: string): string {
	try {
		return readFileSync(path, 'utf8').trimEnd().slice(-2_000);
	} catch {
		return '';
	}
}
