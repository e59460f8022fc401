import { parseTenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { withDatabase } from '../../../../test/support/postgres.ts';
import { json } from './tables.ts';

const store = withDatabase();
const acme = parseTenantId('acme');
const globex = parseTenantId('globex');

test('a unit of a tenant commits, reads back typed values, and no other tenant sees its rows', async () => {
	await store.db.asTenant(acme, (tx) =>
		tx
			.insertInto('tenant')
			.values({ id: acme, quotas: json({ max_running: 4 }) })
			.execute(),
	);
	const own = await store.db.asTenant(acme, (tx) => tx.selectFrom('tenant').selectAll().execute());
	expect(own).toEqual([
		expect.objectContaining({
			id: 'acme',
			quotas: { max_running: 4 },
			secretsEpoch: 0,
			configVersion: 1,
			createdAt: expect.any(Date),
		}),
	]);
	expect(await store.db.asTenant(globex, (tx) => tx.selectFrom('tenant').selectAll().execute())).toEqual([]);
	expect(await store.db.asSystem((tx) => tx.selectFrom('tenant').select('id').execute())).toEqual([{ id: 'acme' }]);
});

test('a unit that throws leaves nothing behind', async () => {
	const failing = store.db.asSystem(async (tx) => {
		await tx
			.insertInto('tenant')
			.values({ id: globex, quotas: json({}) })
			.execute();
		throw new Error('changed my mind');
	});
	await expect(failing).rejects.toThrow('changed my mind');
	expect(await store.db.asSystem((tx) => tx.selectFrom('tenant').select('id').where('id', '=', globex).execute())).toEqual([]);
});

test('a number beyond 2^53 is refused, not rounded', async () => {
	await expect(store.db.asSystem((tx) => sql`select 9007199254740993::bigint as n`.execute(tx))).rejects.toThrow('beyond 2^53');
});
