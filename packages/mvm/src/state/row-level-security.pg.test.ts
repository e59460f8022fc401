import { parseTenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import pg from 'pg';
import { beforeAll, expect, test } from 'vitest';
import { withDatabase } from '../../../../test/support/postgres.ts';

const store = withDatabase();
const [a, b] = [parseTenantId('acme'), parseTenantId('globex')];

/** One row of each table for tenant $1; a table that is missing here fails the first test. */
const PLANT: Readonly<Record<string, string>> = {
	tenant: `insert into tenant (id, quotas) values ($1, '{}')`,
	pool: `insert into pool (tenant_id, id, spec) values ($1, 'p', '{}')`,
	instance: `insert into instance (id, tenant_id, pool_id, state) values ('i-' || $1, $1, 'p', 'created')`,
	operation: `insert into operation (id, tenant_id, instance_id, kind, step, incarnation, reason) values ('op-' || $1, $1, 'i-' || $1, 'start', 's', 1, 'r')`,
	secret: `insert into secret (tenant_id, name, version, key_id, nonce, ciphertext) values ($1, 'KEY', 1, 'k', '\\x00', '\\x00')`,
	ingress_message: `insert into ingress_message (tenant_id, pool_id, channel, event_id, path, headers, body_bytes, trace_id) values ($1, 'p', 'c', '1', '/', '{}', 0, 't')`,
	checkpoint: `insert into checkpoint (id, tenant_id, instance_id, manifest_sha256, incarnation, image, entries, bytes, frozen_at, state) values ('cp-' || $1, $1, 'i-' || $1, 'x', 1, 'i', 0, 0, now(), 'good')`,
	event: `insert into event (tenant_id, kind) values ($1, 'k')`,
	audit_head: `insert into audit_head (tenant_id, seq, hash) values ($1, 0, '\\x00')`,
	audit: `insert into audit (tenant_id, seq, at, actor, action, target, outcome, prev_hash, hash) values ($1, 1, now(), 'a', 'a', 't', 'ok', '\\x00', '\\x01')`,
	api_key: `insert into api_key (id, tenant_id, role, name, hash) values ('key-' || $1, $1, 'tenant_admin', 'n', $1::bytea)`,
	idempotency: `insert into idempotency (tenant_id, key, request_hash) values ($1, 'k', '\\x00')`,
};
/** Tables that hold nothing of a tenant. */
const PLATFORM_TABLES = new Set(['migration']);
const tables = Object.keys(PLANT);
const ownerColumn = (table: string): string => (table === 'tenant' ? 'id' : 'tenant_id');

beforeAll(async () => {
	for (const tenant of [a, b]) {
		for (const insert of Object.values(PLANT)) await store.asSuperuser(insert, [tenant]);
	}
});

test('every table of the schema is known to this test and forces row-level security with both policies', async () => {
	const found = await store.asSuperuser<{ name: string; forced: boolean; policies: string[] }>(`
		select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as forced,
			array(select polname::text from pg_policy where polrelid = c.oid order by 1) as policies
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'mvm' and c.relkind in ('r', 'p', 'v', 'm') order by 1`);
	expect(found.map((row) => row.name).filter((name) => !PLATFORM_TABLES.has(name))).toEqual([...tables].sort());
	for (const row of found.filter(({ name }) => !PLATFORM_TABLES.has(name)))
		expect(row).toEqual({ name: row.name, forced: true, policies: ['all_rows', 'only_own'] });
	const [migrations] = await store.asSuperuser<{ ok: boolean }>(
		"select has_table_privilege('mvm_tenant', 'migration', 'select') as ok",
	);
	expect(migrations?.ok).toBe(false);
});

test.each(tables)('%s: a tenant reads, changes and removes only its own rows and writes none of another', async (table) => {
	const column = sql.raw(ownerColumn(table));
	const name = sql.table(table);
	const seen = await store.db.asTenant(a, (tx) => sql<{ owner: string }>`select ${column} as owner from ${name}`.execute(tx));
	expect(seen.rows).toEqual([{ owner: a }]);
	for (const change of [
		sql`update ${name} set ${column} = ${column} where ${column} = ${b}`,
		sql`delete from ${name} where ${column} = ${b}`,
	]) {
		const touched = await store.db
			.asTenant(a, async (tx) => (await change.execute(tx)).numAffectedRows)
			.catch((error: { code?: string }) => error.code);
		expect(touched === 0n || touched === '42501', `${table}: ${touched}`).toBe(true);
	}
	const insert = (PLANT[table] ?? '').replace(/\$1/g, `'${b}'`);
	const written = store.db.asTenant(a, (tx) => sql.raw(insert).execute(tx));
	await expect(written).rejects.toMatchObject({
		message: expect.stringMatching(/row-level security|append-only|does not follow/),
	});
	const stillThere = await store.asSuperuser(`select 1 from ${table} where ${ownerColumn(table)} = $1`, [b]);
	expect(stillThere).toHaveLength(1);
});

test.each(tables)(
	'%s: with no tenant named nobody sees a row, not even the owner or a later unit on the same connection',
	async (table) => {
		const client = new pg.Client({
			host: store.connection.socketDir,
			database: store.connection.database,
			user: 'mvm_app',
			options: '-c search_path=mvm',
		});
		await client.connect();
		try {
			const count = async (): Promise<unknown> => (await client.query(`select count(*)::int as n from mvm.${table}`)).rows[0].n;
			await expect(count()).rejects.toMatchObject({ code: '42501' }); // the session role has no rights at all
			await client.query('set role mvm_tenant');
			expect(await count()).toBe(0);
			await client.query(`begin; set local mvm.tenant = '${a}'`);
			expect(await count()).toBe(1);
			await client.query('commit');
			expect(await count()).toBe(0);
			await client.query('set role mvm_owner');
			expect(await count()).toBe(0);
		} finally {
			await client.end();
		}
	},
);

test('no role that runs anything is a superuser or steps around row-level security', async () => {
	const roles = await store.asSuperuser<{ name: string; risky: boolean }>(
		"select rolname as name, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb as risky from pg_roles where rolname in ('mvm_owner', 'mvm_system', 'mvm_tenant', 'mvm_app')",
	);
	expect(roles).toHaveLength(4);
	expect(roles.filter((role) => role.risky)).toEqual([]);
});

test('a reference cannot point into another tenant', async () => {
	await store.asSuperuser("insert into pool (tenant_id, id, spec) values ($1, 'only-of-globex', '{}')", [b]);
	const foreign = store.db.asTenant(a, (tx) =>
		sql`insert into instance (id, tenant_id, pool_id, state) values ('i-x', ${a}, 'only-of-globex', 'created')`.execute(tx),
	);
	await expect(foreign).rejects.toMatchObject({ code: '23503' });
	const operation = store.db.asTenant(a, (tx) =>
		sql`insert into operation (id, tenant_id, instance_id, kind, step, incarnation, reason) values ('op-x', ${a}, ${`i-${b}`}, 'k', 's', 1, 'r')`.execute(
			tx,
		),
	);
	await expect(operation).rejects.toMatchObject({ code: '23503' });
});
