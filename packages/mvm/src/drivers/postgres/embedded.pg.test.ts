import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, expect, test } from 'vitest';
import { makeServerFolder, testServerOptions } from '../../../../../test/support/postgres-server.ts';
import { realClock } from '../../../../../test/support/real-clock.ts';
import { openDatabase } from '../../state/database.ts';
import { prepareEmbeddedStore } from '../../state/prepare-store.ts';
import { startEmbeddedPostgres } from './embedded.ts';
import { findPostmaster, isPostmasterOf } from './postmaster.ts';

const folder = makeServerFolder();
const options = testServerOptions(folder);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function query(text: string): Promise<pg.QueryResultRow[]> {
	const client = new pg.Client({ host: options.socketDir, database: 'postgres', user: 'mvm_super' });
	await client.connect();
	try {
		return (await client.query(text)).rows;
	} finally {
		await client.end();
	}
}
async function until(holds: () => boolean, what: string): Promise<void> {
	const signal = AbortSignal.timeout(20_000);
	while (!holds()) await realClock.sleep(10, { signal }).catch(() => expect.fail(`never: ${what}`));
}

test('it listens on its socket only, durably, for its own user, and stops without a trace', async () => {
	const server = await startEmbeddedPostgres(options);
	try {
		const [row] = await query(`select current_setting('listen_addresses') as tcp, current_setting('fsync') as fsync,
			current_setting('synchronous_commit') as sync, current_setting('data_checksums') as checksums, current_setting('jit') as jit`);
		expect(row).toEqual({ tcp: '', fsync: 'on', sync: 'on', checksums: 'on', jit: 'off' });
		expect(statSync(options.socketDir).mode & 0o777).toBe(0o700);
		expect(statSync(options.dataDir).mode & 0o777).toBe(0o700);
		const inodes = readFileSync(`/proc/${server.pid}/net/tcp`, 'utf8');
		expect(inodes).not.toContain(':1538 '); // 5432
		expect(readFileSync(join(options.dataDir, 'pg_hba.conf'), 'utf8')).toBe('local all all trust\n');
		const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1];
		expect(Number(uid)).toBe(options.user?.uid ?? process.getuid?.());
	} finally {
		await server.stop();
	}
	expect(isPostmasterOf(server.pid, options.dataDir)).toBe(false);
	expect(existsSync(join(options.dataDir, 'postmaster.pid'))).toBe(false);
	await server.stop(); // twice is fine
});

test('kill -9 of the server: it is back by itself, no committed row is lost, and units of work wait instead of failing', async () => {
	await using server = await startEmbeddedPostgres(options);
	const { connection } = await prepareEmbeddedStore({ socketDir: server.socketDir, superuser: server.superuser });
	await using db = openDatabase({ connection, clock: realClock, log: pino({ level: 'silent' }) });
	const woken: unknown[] = [];
	await db.listen('mvm_test', (payload) => woken.push(payload));
	let inserted = 0;
	let going = true;
	const writer = (async () => {
		while (going) {
			const n = inserted + 1;
			await db.asSystem(
				(tx) =>
					tx
						.insertInto('idempotency')
						.values({ tenantId: '', key: `k${n}`, requestHash: Buffer.alloc(1) })
						.onConflict((c) => c.columns(['tenantId', 'key']).doNothing())
						.execute(),
				{ idempotent: true },
			);
			inserted = n;
		}
	})();
	for (let round = 1; round <= 3; round += 1) {
		const before = inserted;
		await until(() => inserted > before + 50, 'progress before the kill');
		process.kill(server.pid, 'SIGKILL');
		await until(() => server.restarts === round, `restart ${round}`);
		await until(() => woken.length >= round, 'a synthetic wake-up of the listener');
	}
	const last = inserted;
	await until(() => inserted > last + 50, 'progress after the kills');
	going = false;
	await writer;
	const [row] = await db.asSystem((tx) =>
		tx
			.selectFrom('idempotency')
			.select((e) => e.fn.countAll<number>().as('n'))
			.execute(),
	);
	expect(row?.n).toBe(inserted);
	expect(new Set(woken)).toEqual(new Set([undefined]));
});

test('a daemon that dies leaves the server running, and the next one adopts it', async () => {
	const daemon = spawn(process.execPath, ['test/support/postgres-daemon.ts', folder], { stdio: ['ignore', 'pipe', 'inherit'] });
	const [line] = (await once(createInterface(daemon.stdout), 'line')) as [string];
	const pid = Number(line);
	daemon.kill('SIGKILL');
	await once(daemon, 'exit');
	expect(isPostmasterOf(pid, options.dataDir)).toBe(true);
	const server = await startEmbeddedPostgres(options);
	expect([server.adopted, server.pid]).toEqual([true, pid]);
	await expect(query('select 1 as n')).resolves.toEqual([{ n: 1 }]);
	process.kill(pid, 'SIGKILL'); // an adopted one is watched as well
	await until(() => server.restarts === 1 && server.pid !== pid, 'restart of the adopted server');
	expect(server.adopted).toBe(false);
	await server.detach();
	const next = await startEmbeddedPostgres(options);
	expect(next.adopted).toBe(true);
	await next.stop();
});

test('a pid file that names a foreign process is not adopted and not signalled', async () => {
	const sleeper = spawn('sleep', ['60'], { ...options.user }); // of the server's own user: Postgres itself would give up
	try {
		writeFileSync(
			join(options.dataDir, 'postmaster.pid'),
			`${sleeper.pid}\n${options.dataDir}\n1\n5432\n${options.socketDir}\n\n\nready\n`,
		);
		writeFileSync(
			join(options.socketDir, '.s.PGSQL.5432.lock'),
			`${sleeper.pid}\n${options.dataDir}\n1\n5432\n${options.socketDir}\n`,
		);
		expect(findPostmaster(options.dataDir)).toBeUndefined();
		await using server = await startEmbeddedPostgres(options);
		expect(server.adopted).toBe(false);
		expect(sleeper.exitCode).toBeNull();
	} finally {
		sleeper.kill();
	}
});

test('what cannot work is refused with what to do: root, a long socket path, a directory of another version', async () => {
	if (process.getuid?.() === 0) {
		await expect(startEmbeddedPostgres({ ...options, user: undefined })).rejects.toMatchObject({
			code: 'HOST_UNSUPPORTED',
			message: expect.stringContaining('root'),
		});
	}
	const long = startEmbeddedPostgres({ ...options, socketDir: join(folder, 'x'.repeat(90)) });
	await expect(long).rejects.toMatchObject({ code: 'HOST_UNSUPPORTED', hint: expect.stringContaining('MVM_RUN_DIR') });
	const versionFile = join(options.dataDir, 'PG_VERSION');
	const version = readFileSync(versionFile, 'utf8');
	writeFileSync(versionFile, '14\n');
	await expect(startEmbeddedPostgres(options)).rejects.toMatchObject({
		code: 'HOST_UNSUPPORTED',
		details: { found: '14', server: version.trim() },
	});
	writeFileSync(versionFile, version);
});

test('a server that cannot start says why with the last lines of its log, and a half-made directory is made anew', async () => {
	const broken = startEmbeddedPostgres({ ...options, settings: { shared_buffers: 'nonsense' } });
	await expect(broken).rejects.toMatchObject({
		code: 'STORE_UNAVAILABLE',
		details: { last_lines: expect.arrayContaining([expect.stringContaining('shared_buffers')]) },
	});
	rmSync(options.dataDir, { recursive: true });
	mkdirSync(`${options.dataDir}.new/half`, { recursive: true });
	await using server = await startEmbeddedPostgres(options);
	expect(server.restarts).toBe(0);
});
