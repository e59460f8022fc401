import type { parseTenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { withDatabase } from '../../../../test/support/postgres.ts';
import type { Database, Tx } from './database.ts';
import { notify } from './notify.ts';

const store = withDatabase();
const put = (tx: Tx, key: string) =>
	tx
		.insertInto('idempotency')
		.values({ tenantId: '', key, requestHash: Buffer.alloc(1) })
		.execute();
const keys = async (db: Database = store.db) =>
	(await db.asSystem((tx) => tx.selectFrom('idempotency').select('key').orderBy('key').execute())).map((row) => row.key);
const endConnections = (user = 'mvm_app') =>
	store.asSuperuser(
		'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = $1',
		[user],
	);

test('a transaction is of no use after its unit has ended', async () => {
	let escaped: Tx | undefined;
	await store.db.asSystem(async (tx) => {
		escaped = tx;
	});
	await expect(escaped?.selectFrom('tenant').selectAll().execute()).rejects.toThrow('after its end');
});

test('a unit that swallows a failed statement does not pretend to have committed', async () => {
	const unit = store.db.asSystem(async (tx) => {
		await put(tx, 'swallowed');
		await sql`select 1/0`.execute(tx).catch(() => {});
	});
	await expect(unit).rejects.toThrow('rolled back');
	expect(await keys()).not.toContain('swallowed');
});

test('a statement that takes too long ends with a clear error, and the connection serves the next unit', async () => {
	await using db = store.open({ statementTimeoutMs: 50, maxConnections: 1 });
	const slow = db.asSystem((tx) => sql`select pg_sleep(5)`.execute(tx));
	await expect(slow).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', details: { outcome: 'unchanged' } });
	expect(await keys(db)).toEqual(expect.any(Array));
});

test('two units that lock each other out both finish', async () => {
	await store.db.asSystem(async (tx) => {
		await put(tx, 'left');
		await put(tx, 'right');
	});
	let met = 0;
	const { promise, resolve } = Promise.withResolvers<void>();
	let runs = 0;
	const cross = (first: string, second: string) =>
		store.db.asSystem(async (tx) => {
			runs += 1;
			const touch = (key: string) => tx.updateTable('idempotency').set({ status: runs }).where('key', '=', key).execute();
			await touch(first);
			met += 1;
			if (met === 2) resolve();
			await promise;
			await touch(second);
		});
	await Promise.all([cross('left', 'right'), cross('right', 'left')]);
	expect(runs).toBe(3); // the server ended one of them, and it ran again
});

test('connections that break between and inside units are replaced; what was not committed is not there', async () => {
	await endConnections();
	expect(await keys()).toContain('left');
	let runs = 0;
	await store.db.asSystem(async (tx) => {
		runs += 1;
		await put(tx, `broken-${runs}`);
		if (runs === 1) await endConnections();
		await sql`select 1`.execute(tx);
	});
	expect(runs).toBe(2);
	expect((await keys()).filter((key) => key.startsWith('broken'))).toEqual(['broken-2']);
});

test('a server that is away is waited for, then named; the caller may stop waiting earlier', async () => {
	await using db = store.open({ connection: { ...store.connection, socketDir: '/nonexistent/sockets' } });
	const impatient = db.asSystem(keysOf, { signal: AbortSignal.timeout(100) });
	await expect(impatient).rejects.toMatchObject({ name: 'TimeoutError' });
	const started = performance.now();
	await expect(db.asSystem(keysOf)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', hint: expect.any(String) });
	expect(performance.now() - started).toBeGreaterThan(2_000);
}, 30_000);
const keysOf = (tx: Tx) => tx.selectFrom('idempotency').select('key').execute();

test('any number of different statements works, and an odd tenant id never reaches SQL', async () => {
	await store.db.asSystem(async (tx) => {
		for (let n = 0; n < 250; n += 1) await sql`select ${sql.lit(n)}::int as n`.execute(tx);
	});
	const odd = store.db.asTenant("x'; drop table audit; --" as ReturnType<typeof parseTenantId>, keysOf);
	await expect(odd).rejects.toThrow('not a tenant id');
	expect(await keys()).toContain('left');
});

test('subscribers hear what commits, not what rolls back, and are woken once after a lost connection', async () => {
	const heard: (string | undefined)[] = [];
	const { promise, resolve } = Promise.withResolvers<void>();
	const stop = await store.db.listen('mvm_heard', (payload) => {
		heard.push(payload);
		if (payload === 'last') resolve();
		if (payload === 'bad') throw new Error('a handler that fails disturbs nobody');
	});
	const silent = await store.db.listen('mvm_other', () => expect.fail('another channel'));
	await store.db.asSystem((tx) => notify(tx, 'mvm_heard', 'first'));
	const failed = store.db.asSystem(async (tx) => {
		await notify(tx, 'mvm_heard', 'rolled back');
		throw new Error('no');
	});
	await expect(failed).rejects.toThrow('no');
	await store.db.asSystem((tx) => notify(tx, 'mvm_heard', 'bad'));
	await silent();
	await endConnections();
	await expect.poll(() => heard.includes(undefined), { timeout: 10_000 }).toBe(true);
	await store.db.asSystem((tx) => notify(tx, 'mvm_heard', 'last'));
	await promise;
	await stop();
	expect(heard).toEqual(['first', 'bad', undefined, 'last']);
	await expect(store.db.listen('Not A Channel', () => {})).rejects.toThrow('channel');
});
