// Brings the schema up to date: plain numbered SQL files, each once, all in one transaction under a lock, by the owner
// role. Called at start, before the first unit of work.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { MvmError } from '@mvm/protocol';
import type { ClientBase } from 'pg';

export interface Migration {
	readonly number: number;
	readonly name: string;
	readonly sha256: string;
	readonly sql: string;
}

/** Any constant will do; it keeps two starting daemons from preparing one database at once. */
const LOCK = 7_061_190_002;

/** Waits for other preparations of this database; held until the connection ends. */
export async function lockPreparation(client: ClientBase): Promise<void> {
	await client.query('select pg_advisory_lock($1)', [LOCK]);
}

/** Reads NNNN_name.sql from a folder, in order; a gap or a double number throws. */
export function readMigrations(folder: URL = new URL('./migrations/', import.meta.url)): readonly Migration[] {
	const files = readdirSync(folder)
		.filter((file) => file.endsWith('.sql'))
		.sort();
	return files.map((file, at) => {
		const [, digits, name] = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file) ?? [];
		if (digits === undefined || name === undefined || Number(digits) !== at + 1)
			throw new Error(`migrations are numbered 0001, 0002, … without gaps; found ${file}`);
		const sql = readFileSync(new URL(file, folder), 'utf8');
		return { number: Number(digits), name, sha256: createHash('sha256').update(sql).digest('hex'), sql };
	});
}

/**
 * Applies what is missing and returns the numbers applied. Throws HOST_UNSUPPORTED when the database was written by a
 * newer version of mvm or when an applied migration differs from the file; then nothing was changed.
 */
export async function migrate(
	client: ClientBase,
	migrations: readonly Migration[] = readMigrations(),
): Promise<readonly number[]> {
	await client.query('begin');
	try {
		await client.query('select pg_advisory_xact_lock($1)', [LOCK]);
		await client.query('set local role mvm_owner');
		await client.query('set local search_path = mvm');
		await client.query(`create table if not exists migration (
			number integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`);
		await client.query('grant select on migration to mvm_system');
		const { rows } = await client.query<{ number: number; sha256: string }>(
			'select number, sha256 from migration order by number',
		);
		const newest = migrations.at(-1)?.number ?? 0;
		for (const applied of rows) {
			const known = migrations.find((m) => m.number === applied.number);
			if (known === undefined)
				throw unsuitable(`the database is at schema ${applied.number}, this mvm knows ${newest}: it was written by a newer mvm`);
			if (known.sha256 !== applied.sha256)
				throw unsuitable(`schema ${applied.number} (${known.name}) of the database differs from this mvm's`);
		}
		const done = new Set(rows.map((row) => row.number));
		const missing = migrations.filter((m) => !done.has(m.number));
		for (const migration of missing) {
			await client.query(migration.sql);
			await client.query('insert into migration (number, name, sha256) values ($1, $2, $3)', [
				migration.number,
				migration.name,
				migration.sha256,
			]);
		}
		await client.query('commit');
		return missing.map((m) => m.number);
	} catch (error) {
		await client.query('rollback').catch(() => {}); // the first failure is the one to tell
		throw error;
	}
}

function unsuitable(message: string): MvmError {
	return new MvmError('HOST_UNSUPPORTED', message, {
		hint: 'start the mvm that wrote it, or choose another data directory or database',
	});
}
