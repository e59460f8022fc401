// The handle on the store that every service gets: units of work under row-level security, and notifications.
// Constructed in main/ (and test support) through openDatabase; nothing else opens connections at run time.
import type { TenantId } from '@mvm/protocol';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.ts';
import { Listener, type NotificationHandler } from './listener.ts';
import { asStoreError, isConnectionLost, type Phase, retryDelayMs } from './retry.ts';
import { type Scope, type Tx, UnitRunner } from './unit.ts';

export type { NotificationHandler } from './listener.ts';
export type { Tx } from './unit.ts';

export interface UnitOptions {
	/**
	 * True when running the whole unit twice leaves the same rows as running it once. Only then is it tried again after
	 * the connection broke during commit; otherwise that is STORE_UNAVAILABLE with details.outcome `unknown`.
	 */
	readonly idempotent?: boolean;
	/** Ends the waiting between tries. A statement under way is not interrupted. */
	readonly signal?: AbortSignal;
}

/**
 * Units commit when `run` resolves and roll back when it throws. `run` may be called again after a collision with
 * another unit or after the connection was lost before commit, so it must not act on anything but `tx`.
 * Throws STORE_UNAVAILABLE after about 6 s of trying when the server is away, DISK_FULL when it has no room; the next
 * unit works again as soon as the server does.
 */
export interface Database extends AsyncDisposable {
	/** Everything on behalf of a principal: only rows of this tenant exist in `tx`. */
	asTenant<T>(tenant: TenantId, run: (tx: Tx) => Promise<T>, options?: UnitOptions): Promise<T>;
	/** The platform's own loops (recovery, delivery, gc): all tenants' rows exist in `tx`. */
	asSystem<T>(run: (tx: Tx) => Promise<T>, options?: UnitOptions): Promise<T>;
	/**
	 * Calls `handler` for every `notify(tx, channel, payload)` that commits, and with undefined whenever some may have been
	 * missed (a reconnect). The returned function ends the subscription.
	 */
	listen(channel: string, handler: NotificationHandler): Promise<() => Promise<void>>;
	/** Waits for the units under way, then closes all connections. */
	close(): Promise<void>;
}

/** Where the server is and who connects: an own role without rights that may only switch to the two runtime roles. */
export type Connection =
	| { readonly socketDir: string; readonly database: string; readonly user: string }
	| { readonly url: string };

export interface DatabaseOptions {
	readonly connection: Connection;
	readonly clock: Clock;
	readonly log: Logger;
	/** Connections for units; one more is opened for LISTEN when used. Default 12 (more gain nothing on few cores). */
	readonly maxConnections?: number;
	/** Statements, lock waits and idle transactions end after these. Defaults 30 s, 10 s, 60 s. */
	readonly statementTimeoutMs?: number;
	readonly lockTimeoutMs?: number;
	readonly idleInTransactionTimeoutMs?: number;
}

const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, parseInt8);
types.setTypeParser(pg.types.builtins.NUMERIC, parseInt8);

/** Opens the pool. Does not connect yet: the first unit does, and waits for a server that is still starting. */
export function openDatabase(options: DatabaseOptions): Database {
	return new PooledDatabase(options);
}

/** What node-postgres needs to connect, with the schema of the platform and bigint as number. */
export function clientConfig(connection: Connection): pg.ClientConfig {
	const target =
		'url' in connection
			? { connectionString: connection.url, keepAlive: true }
			: { host: connection.socketDir, database: connection.database, user: connection.user };
	return { ...target, types, application_name: 'mvm', options: '-c search_path=mvm', connectionTimeoutMillis: 5_000 };
}

class PooledDatabase implements Database {
	readonly #pool: pg.Pool;
	readonly #units = new UnitRunner();
	readonly #listener: Listener;
	readonly #clock: Clock;
	readonly #closing = new AbortController();

	constructor(options: DatabaseOptions) {
		const { connection, clock, log, maxConnections = 12 } = options;
		const config = clientConfig(connection);
		this.#clock = clock;
		this.#listener = new Listener({ config, clock, log });
		this.#pool = new pg.Pool({
			...config,
			pipeline: true,
			max: maxConnections,
			idleTimeoutMillis: 60_000,
			connectionTimeoutMillis: 10_000,
			statement_timeout: options.statementTimeoutMs ?? 30_000,
			lock_timeout: options.lockTimeoutMs ?? 10_000,
			idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? 60_000,
		});
		// Both must have a listener or Node ends the process: 'error' of an idle and of a checked-out connection.
		this.#pool.on('error', (err) => log.debug({ err }, 'idle database connection lost'));
		this.#pool.on('connect', (client) => client.on('error', (err) => log.debug({ err }, 'database connection lost')));
	}

	asTenant<T>(tenant: TenantId, run: (tx: Tx) => Promise<T>, options: UnitOptions = {}): Promise<T> {
		return this.#run({ role: 'mvm_tenant', tenant }, run, options);
	}

	asSystem<T>(run: (tx: Tx) => Promise<T>, options: UnitOptions = {}): Promise<T> {
		return this.#run({ role: 'mvm_system' }, run, options);
	}

	listen(channel: string, handler: NotificationHandler): Promise<() => Promise<void>> {
		return this.#listener.add(channel, handler);
	}

	async close(): Promise<void> {
		if (this.#closing.signal.aborted) return;
		this.#closing.abort(new Error('the database handle was closed'));
		await this.#listener.close();
		await this.#pool.end();
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.close();
	}

	/** Bounded by the attempts of the rule that `retryDelayMs` finds. */
	async #run<T>(scope: Scope, work: (tx: Tx) => Promise<T>, options: UnitOptions): Promise<T> {
		const { idempotent = false } = options;
		const signal = options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal]);
		for (let attempt = 1; ; attempt += 1) {
			let phase: Phase = 'connecting';
			try {
				return await this.#once(scope, work, (next) => {
					phase = next;
				});
			} catch (error) {
				const delayMs = retryDelayMs(error, { phase, attempt, idempotent, random: Math.random() });
				if (delayMs === undefined || signal.aborted) throw asStoreError(error, phase);
				await this.#clock.sleep(delayMs, { signal });
			}
		}
	}

	async #once<T>(scope: Scope, work: (tx: Tx) => Promise<T>, onPhase: (phase: Phase) => void): Promise<T> {
		const client = await this.#pool.connect();
		let broken = false;
		try {
			return await this.#units.run(client, scope, work, onPhase);
		} catch (error) {
			broken = isConnectionLost(error);
			throw error;
		} finally {
			client.release(broken);
		}
	}
}

/** Counts come as bigint or numeric text; above 2^53 they would silently round, so that is refused. */
function parseInt8(text: string): number {
	const value = Number(text);
	if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value;
	throw new RangeError(`a database number is beyond 2^53: ${text}`);
}
