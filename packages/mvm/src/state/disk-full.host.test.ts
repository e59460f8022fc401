import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMvmError, parseTenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeServerFolder, testServerOptions } from '../../../../test/support/postgres-server.ts';
import { realClock } from '../../../../test/support/real-clock.ts';
import { DirectoryBlobs } from '../drivers/blobs/directory/directory-blobs.ts';
import { startEmbeddedPostgres } from '../drivers/postgres/embedded.ts';
import { openDatabase } from './database.ts';
import { prepareEmbeddedStore } from './prepare-store.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stdout.write('skipped: disk-full tests mount a small file system, which needs root\n');
const folder = makeServerFolder();
const disk = join(folder, 'data');
const MIB = 1024 * 1024;
const signal = new AbortController().signal;

beforeAll(() => {
	if (!isRoot) return;
	mkdirSync(disk);
	expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=128m,mode=755', 'mvm-test', disk]).status).toBe(0);
});
afterAll(() => {
	if (isRoot) expect(spawnSync('umount', [disk]).status).toBe(0);
	rmSync(folder, { recursive: true });
});

/** Takes all but about `leave` bytes of the disk. */
function fill(leave: number): string {
	const path = join(disk, 'ballast');
	const free = Number(spawnSync('df', ['--output=avail', '-B1', disk]).stdout.toString().split('\n')[1]);
	writeFileSync(path, Buffer.alloc(Math.max(0, free - leave)));
	return path;
}

test.skipIf(!isRoot)(
	'a full disk: a clear error, nothing half-done, nothing accepted lost, and it goes on once there is room',
	async () => {
		const settings = { max_wal_size: '32MB', min_wal_size: '32MB', shared_buffers: '16MB' };
		await using server = await startEmbeddedPostgres({ ...testServerOptions(folder), settings });
		const { connection } = await prepareEmbeddedStore({ socketDir: server.socketDir, superuser: server.superuser });
		await using db = openDatabase({ connection, clock: realClock, log: pino({ level: 'silent' }) });
		/** Two rows that belong together, big enough to need room. */
		const pair = (n: number) =>
			db.asSystem(
				async (tx) => {
					for (const half of ['a', 'b']) {
						const filler = sql<string>`(select to_jsonb(string_agg(md5(random()::text), '')) from generate_series(1, 4000))`;
						await tx
							.insertInto('idempotency')
							.values({ tenantId: '', key: `${n}${half}`, requestHash: Buffer.alloc(1), response: filler })
							.onConflict((c) => c.columns(['tenantId', 'key']).doNothing())
							.execute();
					}
				},
				{ idempotent: true },
			);
		const ballast = fill(12 * MIB);
		let accepted = 0;
		const failures: unknown[] = [];
		for (let n = 0; n < 200 && failures.length < 3; n += 1) {
			try {
				await pair(n);
				accepted += 1;
			} catch (error) {
				failures.push(error);
			}
		}
		expect(failures).toHaveLength(3);
		for (const error of failures) {
			expect(isMvmError(error, 'DISK_FULL') || isMvmError(error, 'STORE_UNAVAILABLE'), String(error)).toBe(true);
			expect((error as { hint?: string }).hint).toEqual(expect.any(String));
		}
		rmSync(ballast);
		await expect
			.poll(
				() =>
					pair(10_000).then(
						() => true,
						() => false,
					),
				{ timeout: 40_000 },
			)
			.toBe(true);
		const { rows } = await db.asSystem((tx) =>
			sql<{
				n: number;
				halves: number;
			}>`select left(key, -1)::int as n, count(*)::int as halves from idempotency group by 1`.execute(tx),
		);
		expect(rows.filter((row) => row.halves !== 2)).toEqual([]);
		expect(rows.length).toBe(accepted + 1);
	},
	120_000,
);

test.skipIf(!isRoot)('a full disk: a blob is refused whole and leaves no file', async () => {
	const root = join(disk, 'blobs');
	const blobs = new DirectoryBlobs({ root, now: () => Date.now() });
	const tenant = parseTenantId('acme');
	const ballast = fill(3 * MIB);
	const large = (async function* () {
		for (let n = 0; n < 10; n += 1) yield Buffer.alloc(MIB, n);
	})();
	await expect(blobs.put(tenant, large, { signal })).rejects.toMatchObject({ code: 'DISK_FULL', hint: expect.any(String) });
	const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
	expect(files.map((entry) => statSync(join(entry.parentPath, entry.name)).size)).toEqual([]);
	rmSync(ballast);
});
