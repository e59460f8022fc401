import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { expect, inject, test } from 'vitest';
import { withDatabase } from '../../../../test/support/postgres.ts';
import { realClock } from '../../../../test/support/real-clock.ts';
import { plantTenant } from '../../../../test/support/store-fixtures.ts';
import { openDatabase } from './database.ts';
import { migrate, readMigrations } from './migrate.ts';
import { prepareEmbeddedStore, prepareUrlStore } from './prepare-store.ts';
import { listTenants } from './tenant/get-tenant.ts';

const store = withDatabase();
const server = inject('postgres');

/** An empty database of its own, with a user who owns it. */
async function emptyDatabase(user: string, rights: string): Promise<string> {
	const name = `url_${user}`;
	await store.asSuperuser(`create role ${user} login noinherit ${rights}`);
	await store.asSuperuser(`create database ${name} owner ${user}`);
	return `postgresql:///${name}?host=${encodeURIComponent(server.socketDir)}&user=${user}`;
}
async function dropDatabase(user: string): Promise<void> {
	await store.asSuperuser(`drop database url_${user} with (force)`);
	await store.asSuperuser(`drop role ${user}`);
}
const open = (url: string) => openDatabase({ connection: { url }, clock: realClock, log: pino({ level: 'silent' }) });

test('a server by URL serves an ordinary user who owns the database, walls included', async () => {
	const url = await emptyDatabase('app_ok', 'createrole');
	await store.asSuperuser('grant mvm_owner, mvm_system, mvm_tenant to app_ok');
	try {
		expect((await prepareUrlStore(url)).applied).toEqual(readMigrations().map((m) => m.number));
		expect((await prepareUrlStore(url)).applied).toEqual([]);
		await using db = open(url);
		const acme = await plantTenant(db, 'acme');
		const globex = await plantTenant(db, 'globex');
		expect((await db.asTenant(acme, listTenants)).map((t) => t.id)).toEqual([acme]);
		expect((await db.asTenant(globex, listTenants)).map((t) => t.id)).toEqual([globex]);
	} finally {
		await dropDatabase('app_ok');
	}
});

test.each([
	['a superuser', 'app_super', 'superuser'],
	['a user who bypasses row-level security', 'app_bypass', 'bypassrls'],
])('%s is refused by name, with the user to make instead', async (_what, user, rights) => {
	const url = await emptyDatabase(user, rights);
	try {
		await expect(prepareUrlStore(url)).rejects.toMatchObject({
			code: 'HOST_UNSUPPORTED',
			details: { roles: [user] },
			hint: expect.stringContaining('create role'),
		});
	} finally {
		await dropDatabase(user);
	}
});

test('a user who may not use the roles is told what an administrator has to run', async () => {
	const url = await emptyDatabase('app_weak', '');
	try {
		await expect(prepareUrlStore(url)).rejects.toMatchObject({
			code: 'HOST_UNSUPPORTED',
			hint: expect.stringContaining('grant mvm_owner, mvm_system, mvm_tenant to "app_weak"'),
		});
	} finally {
		await dropDatabase('app_weak');
	}
});

test('nobody there: one clear error, not a stack of tries', async () => {
	const away = await prepareUrlStore(`postgresql:///x?host=${encodeURIComponent('/nonexistent')}&user=x`).catch(
		(error: unknown) => error,
	);
	expect(away).toMatchObject({ code: 'STORE_UNAVAILABLE', hint: expect.any(String) });
});

test('a schema of a newer mvm, or a changed one, is refused and left alone; a failing migration leaves nothing', async () => {
	const client = new pg.Client({ host: server.socketDir, database: store.connection.database, user: 'mvm_app' });
	await client.connect();
	try {
		const known = readMigrations();
		const [first] = known;
		if (first === undefined) throw new Error('no migrations');
		const extra = {
			number: known.length + 1,
			name: 'extra',
			sha256: 'x',
			sql: 'create table extra (n int); create table extra (n int)',
		};
		await expect(migrate(client, [...known, extra])).rejects.toMatchObject({ code: '42P07' });
		expect(await store.asSuperuser("select to_regclass('mvm.extra') as t")).toEqual([{ t: null }]);
		await expect(migrate(client, [])).rejects.toMatchObject({
			code: 'HOST_UNSUPPORTED',
			message: expect.stringContaining('newer'),
		});
		await expect(migrate(client, [{ ...first, sha256: 'y' }, ...known.slice(1)])).rejects.toMatchObject({
			message: expect.stringContaining('differs'),
		});
		expect(await migrate(client)).toEqual([]);
	} finally {
		await client.end();
	}
});

test('two daemons that start at once on an empty server both find one schema', async () => {
	const input = { socketDir: server.socketDir, superuser: server.superuser, database: 'mvm_race' };
	await store.asSuperuser('create database mvm_race owner mvm_owner');
	try {
		const applied = (await Promise.all([prepareEmbeddedStore(input), prepareEmbeddedStore(input)])).map(
			(prepared) => prepared.applied.length,
		);
		expect(applied.sort()).toEqual([0, readMigrations().length]);
	} finally {
		await store.asSuperuser('drop database mvm_race with (force)');
	}
});

const FLOOR = '/usr/lib/postgresql/15/bin';
const isFloorHere = existsSync(FLOOR);
if (!isFloorHere) process.stdout.write('skipped: Postgres 15 (the floor) is not installed on this machine\n');
test.skipIf(!isFloorHere)('the schema and its walls work on Postgres 15, the floor', async () => {
	const folder = mkdtempSync(join(tmpdir(), 'mvm-pg15-'));
	const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
	const [data, sockets] = [join(folder, 'data'), join(folder, 's')];
	chmodSync(folder, 0o755);
	for (const path of [data, sockets]) {
		mkdirSync(path, { mode: 0o700 });
		if (user.uid !== undefined) chownSync(path, user.uid, user.gid);
	}
	const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };
	expect(
		spawnSync(join(FLOOR, 'initdb'), ['-D', data, '-U', 'root15', '-A', 'trust', '-E', 'UTF8', '-N'], { ...user, cwd: '/', env })
			.status,
	).toBe(0);
	const args = ['-D', data, '-c', 'listen_addresses=', '-c', `unix_socket_directories=${sockets}`, '-c', 'fsync=off'];
	const postgres = spawn(join(FLOOR, 'postgres'), args, { ...user, cwd: '/', env, stdio: 'ignore' });
	try {
		await expect.poll(() => existsSync(join(sockets, '.s.PGSQL.5432')), { timeout: 10_000 }).toBe(true);
		const { connection } = await prepareEmbeddedStore({ socketDir: sockets, superuser: 'root15' });
		await using db = openDatabase({ connection, clock: realClock, log: pino({ level: 'silent' }) });
		const acme = await plantTenant(db, 'acme');
		await plantTenant(db, 'globex');
		expect((await db.asTenant(acme, listTenants)).map((t) => t.id)).toEqual([acme]);
		const admin = new pg.Client({ host: sockets, database: 'postgres', user: 'root15' });
		await admin.connect();
		await admin.query('create role cloud login createrole');
		await admin.query('create database cloud owner cloud');
		await admin.end();
		const url = `postgresql:///cloud?host=${encodeURIComponent(sockets)}&user=cloud`;
		expect((await prepareUrlStore(url)).applied).toHaveLength(readMigrations().length);
	} finally {
		postgres.kill('SIGINT');
		await once(postgres, 'exit');
		rmSync(folder, { recursive: true });
	}
});
