import type { TenantId } from '@mvm/protocol';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { withDatabase } from '../../../../test/support/postgres.ts';
import { realClock } from '../../../../test/support/real-clock.ts';
import { plantPool, plantTenant } from '../../../../test/support/store-fixtures.ts';
import { appendEvent } from './event/append-event.ts';
import { Housekeeper } from './housekeeping.ts';
import { beginIdempotent, finishIdempotent } from './idempotency/begin-idempotent.ts';

const store = withDatabase();
const HOUR_MS = 60 * 60 * 1000;

test('a round clears each tenant until its checkpoints have rested, and what is past its retention', async () => {
	const acme = await plantTenant(store.db, 'acme');
	const broken = await plantTenant(store.db, 'broken');
	await plantPool(store.db, acme, 'w');
	await store.db.asTenant(acme, (tx) => appendEvent(tx, { tenantId: acme, kind: 'x.y' }));
	for (const key of ['answered', 'left'])
		await store.db.asTenant(acme, (tx) => beginIdempotent(tx, { tenantId: acme, key, requestHash: Buffer.alloc(1) }));
	await store.db.asTenant(acme, (tx) => finishIdempotent(tx, { tenantId: acme, key: 'answered', status: 200, response: null }));
	let aheadMs = 0;
	const asked: TenantId[] = [];
	const housekeeper = new Housekeeper({
		db: store.db,
		clock: { ...realClock, now: () => Date.now() + aheadMs },
		log: pino({ level: 'silent' }),
		checkpoints: {
			gc: async (tenantId) => {
				asked.push(tenantId);
				if (tenantId === broken) throw new Error('disk on fire');
				return [{ sha256: 'x', bytes: 10 }];
			},
		},
	});
	const round = async (hours: number) => {
		aheadMs = hours * HOUR_MS;
		asked.length = 0;
		return housekeeper.runOnce({ signal: new AbortController().signal });
	};
	expect(await round(0)).toEqual({
		tenants: 1,
		blobs: 1,
		blobBytes: 10,
		events: 0,
		messages: 0,
		idempotencyKeys: 0,
		failures: 1,
	});
	expect(await round(0.9)).toMatchObject({ idempotencyKeys: 0 });
	expect(asked).toEqual([acme, broken]);
	expect(await round(2)).toMatchObject({ tenants: 0, idempotencyKeys: 1, events: 0 });
	expect(asked).toEqual([]);
	await store.asSuperuser("insert into instance (id, tenant_id, pool_id, state) values ('i-1', 'acme', 'w', 'destroyed')");
	expect(await round(10)).toMatchObject({ tenants: 1, blobs: 1 });
	expect(await round(31 * 24)).toMatchObject({ events: 1, idempotencyKeys: 1 });
});

test('a settled message is forgotten after its retention; one that still may be delivered never is', async () => {
	const tenantId = await plantTenant(store.db, 'old');
	await plantPool(store.db, tenantId, 'workers');
	const old = (event: string, state: string, body: string): string =>
		`('${tenantId}', 'workers', 'hook', '${event}', '${state}', '', '{}', ${body}, 1, now() - interval '31 days', 't')`;
	await store.asSuperuser(
		`insert into ingress_message (tenant_id, pool_id, channel, event_id, state, path, headers, body, body_bytes, received_at, trace_id) values
			${[old('a', 'settled', 'null'), old('b', 'settled', "'x'"), old('c', 'dead', "'x'"), old('d', 'pending', "'x'"), old('e', 'taken', "'x'")].join(', ')}`,
	);
	const housekeeper = new Housekeeper({
		db: store.db,
		checkpoints: { gc: async () => [] },
		clock: realClock,
		log: pino({ level: 'silent' }),
	});
	expect(await housekeeper.runOnce({ signal: new AbortController().signal })).toMatchObject({ messages: 1 });
	const left = await store.asSuperuser<{ event_id: string }>('select event_id from ingress_message order by event_id');
	expect(left.map((row) => row.event_id)).toEqual(['b', 'c', 'd', 'e']);
});

test('closing ends the waiting at once', async () => {
	const idle = new Housekeeper({
		db: store.db,
		clock: realClock,
		log: pino({ level: 'silent' }),
		checkpoints: { gc: async () => [] },
	});
	idle.start();
	await idle.close();
});
