import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TenantId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { withDatabase } from '../../../../../test/support/postgres.ts';
import { plantTenant } from '../../../../../test/support/store-fixtures.ts';
import { SecretValue } from '../../platform/secret-value.ts';
import type { Tx } from '../database.ts';
import { getTenant } from '../tenant/get-tenant.ts';
import { type MasterKey, openMasterKey } from './master-key.ts';
import { listSecrets, readSecret, readSecrets } from './read-secrets.ts';
import { removeSecret, setSecret } from './set-secret.ts';

const store = withDatabase();
const folder = mkdtempSync(join(tmpdir(), 'mvm-secret-'));
const key = openMasterKey(join(folder, 'keys', 'master.key'));
let tenantId: TenantId;
beforeAll(async () => {
	tenantId = await plantTenant(store.db, 'acme');
});
afterAll(() => rmSync(folder, { recursive: true }));

const set = (name: string, value: string, under: MasterKey = key) =>
	store.db.asTenant(tenantId, (tx) => setSecret(tx, { tenantId, name, value: new SecretValue(value), key: under }));
const read = (name: string, under: MasterKey = key) =>
	store.db.asTenant(tenantId, (tx) => readSecret(tx, { tenantId, name, key: under }));
const epoch = async () => (await store.db.asTenant(tenantId, (tx) => getTenant(tx, tenantId))).secretsEpoch;

test('a secret comes back as it was set, and every change of one raises the epoch', async () => {
	const before = await epoch();
	expect(await set('BOT_TOKEN', 'planted-ü-1')).toMatchObject({ change: 'set', secretsEpoch: before + 1 });
	expect(await set('BOT_TOKEN', 'planted-ü-1')).toMatchObject({ change: 'unchanged', secretsEpoch: before + 1 });
	expect(await set('BOT_TOKEN', 'planted-ü-2')).toMatchObject({ change: 'set', secretsEpoch: before + 2 });
	expect((await read('BOT_TOKEN')).reveal()).toBe('planted-ü-2');
	expect(await store.db.asTenant(tenantId, (tx) => removeSecret(tx, { tenantId, name: 'BOT_TOKEN' }))).toBe(true);
	expect(await store.db.asTenant(tenantId, (tx) => removeSecret(tx, { tenantId, name: 'BOT_TOKEN' }))).toBe(false);
	expect(await epoch()).toBe(before + 3);
	await expect(read('BOT_TOKEN')).rejects.toMatchObject({ code: 'SECRET_MISSING' });
});

test('a list has names and versions, never values; names without a value are left out', async () => {
	await set('A_KEY', 'planted-a');
	await set('B_KEY', 'planted-b');
	const list = await store.db.asTenant(tenantId, (tx) => listSecrets(tx, tenantId));
	expect(list.map((secret) => secret.name)).toEqual(['A_KEY', 'B_KEY']);
	expect(JSON.stringify(list)).not.toContain('planted');
	const some = await store.db.asTenant(tenantId, (tx) => readSecrets(tx, { tenantId, names: ['B_KEY', 'NOT_SET'], key }));
	expect([...some].map(([name, value]) => [name, value.reveal()])).toEqual([['B_KEY', 'planted-b']]);
});

test('a value that was changed, moved to another name or tenant, or sealed under another key does not open', async () => {
	await set('ONE', 'planted-one');
	await set('TWO', 'planted-two');
	await store.asSuperuser(
		`update secret a set nonce = b.nonce, ciphertext = b.ciphertext from secret b where a.name = 'TWO' and b.name = 'ONE'`,
	);
	await expect(read('TWO')).rejects.toMatchObject({
		code: 'SECRET_UNDECRYPTABLE',
		message: expect.stringContaining('changed outside'),
	});
	await store.asSuperuser(
		`update secret set ciphertext = set_byte(ciphertext, 0, get_byte(ciphertext, 0) # 1) where name = 'ONE'`,
	);
	await expect(read('ONE')).rejects.toMatchObject({ code: 'SECRET_UNDECRYPTABLE' });
	const other = openMasterKey(join(folder, 'other', 'master.key'));
	await set('THREE', 'planted-three');
	await expect(read('THREE', other)).rejects.toMatchObject({
		code: 'SECRET_UNDECRYPTABLE',
		message: expect.stringContaining('another key'),
	});
	await set('ONE', 'planted-again'); // an unreadable value can be replaced
	expect((await read('ONE')).reveal()).toBe('planted-again');
});

test('the whole database, its files and its log do not contain a planted secret', async () => {
	await set('PLANTED', 'planted-needle-7f3a');
	const tables = await store.asSuperuser<{ name: string }>(
		"select relname as name from pg_class where relnamespace = 'mvm'::regnamespace and relkind = 'r'",
	);
	let dump = '';
	for (const { name } of tables) dump += JSON.stringify(await store.asSuperuser(`select t::text as row from ${name} t`));
	expect(dump).toContain('PLANTED');
	const hex = Buffer.from('planted-needle-7f3a').toString('hex');
	for (const needle of ['planted-needle-7f3a', hex]) expect(dump).not.toContain(needle);
	await store.asSuperuser('checkpoint');
	const [found] = await store.asSuperuser<{ hits: number }>(
		`select count(*)::int as hits from pg_ls_dir('base/' || (select oid from pg_database where datname = current_database())) f
		where position('planted-needle-7f3a'::bytea in pg_read_binary_file('base/' || (select oid from pg_database where datname = current_database()) || '/' || f)) > 0`,
	);
	expect(found?.hits).toBe(0);
	// A statement that fails with a planted value among its parameters and its row.
	const twice = (tx: Tx) => tx.insertInto('event').values({ tenantId, kind: 'planted-needle-7f3a', detail: '{' }).execute();
	await expect(store.db.asTenant(tenantId, twice)).rejects.toThrow('json');
	const log = readFileSync(inject('postgres').logFile, 'utf8');
	expect(log).toContain('invalid input syntax for type json');
	expect(log).not.toContain('planted');
});

test('the key file is made once for its owner only, and refused when others may read it or it is none', () => {
	const path = join(folder, 'made', 'master.key');
	const made = openMasterKey(path);
	expect(statSync(path).mode & 0o777).toBe(0o600);
	expect(statSync(join(folder, 'made')).mode & 0o777).toBe(0o700);
	expect(openMasterKey(path).id).toBe(made.id);
	expect(JSON.stringify({ made })).not.toContain('Buffer');
	chmodSync(path, 0o640);
	expect(() => openMasterKey(path)).toThrowError(
		expect.objectContaining({ code: 'CONFIG_INVALID', hint: expect.stringContaining('chmod 600') }),
	);
	chmodSync(path, 0o600);
	writeFileSync(path, 'short');
	expect(() => openMasterKey(path)).toThrowError(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
