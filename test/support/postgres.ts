// A database of its own for one test file, cloned from the migrated template (about 70 ms). Fails the file when it leaves
// a connection open.
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import pino from 'pino';
import { afterAll, beforeAll, expect, inject } from 'vitest';
import { type Connection, type Database, type DatabaseOptions, openDatabase } from '../../packages/mvm/src/state/database.ts';
import type { TestServer } from './postgres-server.ts';
import { realClock } from './real-clock.ts';

export interface TestDatabase {
	/** The handle as services get it; opened before the first test, closed after the last. */
	readonly db: Database;
	readonly connection: Extract<Connection, { socketDir: string }>;
	/** A further handle; the test closes it. */
	open(options?: Partial<DatabaseOptions>): Database;
	/** Runs SQL as the superuser, past row-level security: for planting and for looking, never for the thing under test. */
	asSuperuser<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

/** Call at the top of an `x.pg.test.ts`: makes the database before its tests and drops it after them. */
export function withDatabase(): TestDatabase {
	const { socketDir, superuser, template }: TestServer = inject('postgres');
	const connection = { socketDir, database: `test_${randomBytes(6).toString('hex')}`, user: 'mvm_app' };
	const open = (options: Partial<DatabaseOptions> = {}): Database =>
		openDatabase({ connection, clock: realClock, log: pino({ level: 'silent' }), maxConnections: 8, ...options });
	const query = async <Row extends pg.QueryResultRow>(
		database: string,
		text: string,
		values: readonly unknown[] = [],
	): Promise<Row[]> => {
		const client = new pg.Client({ host: socketDir, database, user: superuser, options: '-c search_path=mvm,public' });
		await client.connect();
		try {
			return (await client.query<Row>(text, [...values])).rows;
		} finally {
			await client.end();
		}
	};
	let db: Database | undefined;
	beforeAll(async () => {
		await query('postgres', `create database ${connection.database} template ${template} owner mvm_owner`);
		await query('postgres', `grant connect on database ${connection.database} to mvm_app`);
		db = open();
	});
	afterAll(async () => {
		await db?.close();
		const left = await query('postgres', 'select pid, query from pg_stat_activity where datname = $1', [connection.database]);
		await query('postgres', `drop database ${connection.database} with (force)`);
		expect(left, 'connections left open').toEqual([]);
	});
	return {
		connection,
		open,
		get db() {
			if (db === undefined) throw new Error('the database exists only while tests run');
			return db;
		},
		asSuperuser: (text, values) => query(connection.database, text, values),
	};
}
