import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTenantId, type TenantId } from '@mvm/protocol';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { withDatabase } from '../../../../../test/support/postgres.ts';
import { realClock } from '../../../../../test/support/real-clock.ts';
import { type AuditEntry, appendAudit, PLATFORM_CHAIN } from './append-audit.ts';
import { AuditBuffer } from './audit-buffer.ts';
import { auditHead, listAudit } from './read-audit.ts';
import { exportAudit, verifyAudit, verifyAuditExport } from './verify-audit.ts';

const store = withDatabase();
const entry = (tenantId: TenantId, n = 0): AuditEntry => ({
	tenantId,
	at: new Date(1_700_000_000_000 + n),
	actor: 'operator:test',
	action: 'pool.scale',
	target: `pool/${n}`,
	outcome: 'ok',
	detail: { z: 1, a: { deep: [1.5, 'ü\u0000\ud800', null] }, n },
});
/** A chain of five of its own for each test. */
async function chain(name: string): Promise<TenantId> {
	const tenant = parseTenantId(name);
	for (let n = 0; n < 5; n += 1) await store.db.asTenant(tenant, (tx) => appendAudit(tx, entry(tenant, n)));
	return tenant;
}
const verify = (tenant: TenantId) => store.db.asTenant(tenant, (tx) => verifyAudit(tx, tenant));
const exported = (tenant: TenantId): Promise<string[]> =>
	store.db.asTenant(tenant, async (tx) => {
		const lines: string[] = [];
		for await (const line of exportAudit(tx, tenant)) lines.push(line);
		return lines;
	});
/** Changes rows as only the owner of the machine could: triggers off. */
const tamper = (statement: string) =>
	store.asSuperuser(`set session_replication_role = replica; ${statement}; set session_replication_role = origin`);

test('a chain that grew from many writers at once is whole, in the store and as a file', async () => {
	const tenant = parseTenantId('busy');
	await Promise.all(Array.from({ length: 40 }, (_, n) => store.db.asTenant(tenant, (tx) => appendAudit(tx, entry(tenant, n)))));
	expect(await verify(tenant)).toMatchObject({ ok: true, entries: 40, firstBadSeq: null });
	expect(await verifyAuditExport(await exported(tenant))).toMatchObject({ ok: true, entries: 40 });
	expect((await store.db.asTenant(tenant, (tx) => listAudit(tx, { tenantId: tenant, limit: 2 }))).map((r) => r.seq)).toEqual([
		40, 39,
	]);
});

test('an empty chain verifies', async () => {
	const tenant = parseTenantId('quiet');
	expect(await verify(tenant)).toMatchObject({ ok: true, entries: 0, headHash: null });
	expect(await verifyAuditExport(await exported(tenant))).toMatchObject({ ok: true, entries: 0 });
});

test('a record of an act that was rolled back is not in the chain', async () => {
	const tenant = await chain('rolled-back');
	const failed = store.db.asTenant(tenant, async (tx) => {
		await appendAudit(tx, entry(tenant, 9));
		throw new Error('the act failed');
	});
	await expect(failed).rejects.toThrow('the act failed');
	expect(await verify(tenant)).toMatchObject({ ok: true, entries: 5 });
});

test.each([
	['edited', "update audit set outcome = 'denied' where tenant_id = 'edited' and seq = 3", 3],
	['edited-detail', `update audit set detail = '{"n": 7}' where tenant_id = 'edited-detail' and seq = 2`, 2],
	['removed', "delete from audit where tenant_id = 'removed' and seq = 2", 2],
	['removed-first', "delete from audit where tenant_id = 'removed-first' and seq = 1", 1],
	['cut', "delete from audit where tenant_id = 'cut' and seq > 3", 4],
	[
		'swapped',
		"update audit set seq = case seq when 2 then -1 else 2 end where tenant_id = 'swapped' and seq in (2, 3); update audit set seq = 3 where tenant_id = 'swapped' and seq = -1",
		2,
	],
	['all-gone', "delete from audit where tenant_id = 'all-gone'", 1],
])('a chain that was %s does not verify, and the place is named', async (name, statement, firstBadSeq) => {
	const tenant = await chain(name);
	await tamper(statement);
	expect(await verify(tenant)).toMatchObject({ ok: false, firstBadSeq, reason: expect.any(String) });
});

test('an exported file shows by itself that it was edited, thinned, reordered or cut', async () => {
	const folder = await mkdtemp(join(tmpdir(), 'mvm-audit-'));
	try {
		const tenant = await chain('offline');
		const file = join(folder, 'audit.jsonl');
		writeFileSync(file, `${(await exported(tenant)).join('\n')}\n`);
		const lines = readFileSync(file, 'utf8').trim().split('\n');
		expect(await verifyAuditExport(lines)).toMatchObject({ ok: true, entries: 5 });
		expect(await verifyAuditExport(lines.with(2, (lines[2] ?? '').replace('"ok"', '"denied"')))).toMatchObject({
			ok: false,
			firstBadSeq: 3,
		});
		expect(await verifyAuditExport(lines.toSpliced(1, 1))).toMatchObject({ ok: false, firstBadSeq: 2 });
		expect(await verifyAuditExport(lines.with(1, lines[2] ?? '').with(2, lines[1] ?? ''))).toMatchObject({
			ok: false,
			firstBadSeq: 2,
		});
		expect(await verifyAuditExport(lines.slice(0, 4))).toMatchObject({ ok: false, firstBadSeq: 5 });
		expect(await verifyAuditExport(lines.toSpliced(4, 1))).toMatchObject({ ok: false, firstBadSeq: 5 });
		// Cut and given a new last line: only a head that was written down elsewhere finds it.
		const pinned = await store.db.asTenant(tenant, (tx) => auditHead(tx, tenant));
		const forged = JSON.stringify({ head: { tenant_id: 'offline', seq: 4, hash: JSON.parse(lines[3] ?? '').hash } });
		expect(await verifyAuditExport([...lines.slice(0, 4), forged])).toMatchObject({ ok: true });
		expect(await verifyAuditExport([...lines.slice(0, 4), forged], { pinned })).toMatchObject({ ok: false, firstBadSeq: 5 });
		await expect(verifyAuditExport(['not json'])).rejects.toMatchObject({ code: 'INVALID_DOCUMENT' });
	} finally {
		await rm(folder, { recursive: true });
	}
});

test('no runtime role can change, remove or truncate records, move the head back, or add one out of line', async () => {
	const tenant = await chain('append-only');
	const { sql } = await import('kysely');
	for (const statement of [
		"update audit set outcome = 'x'",
		'delete from audit',
		'truncate audit',
		'delete from audit_head',
		'update audit_head set seq = seq - 1',
		"insert into audit (tenant_id, seq, at, actor, action, target, outcome, prev_hash, hash) values ('append-only', 9, now(), 'a', 'a', 't', 'ok', '\\x00', '\\x01')",
	]) {
		await expect(
			store.db.asTenant(tenant, (tx) => sql.raw(statement).execute(tx)),
			statement,
		).rejects.toThrow();
		await expect(
			store.db.asSystem((tx) => sql.raw(statement).execute(tx)),
			statement,
		).rejects.toThrow();
	}
	expect(await verify(tenant)).toMatchObject({ ok: true, entries: 5 });
});

test('the platform has a chain of its own that no tenant can read', async () => {
	await store.db.asSystem((tx) => appendAudit(tx, entry(PLATFORM_CHAIN)));
	expect(await store.db.asSystem((tx) => verifyAudit(tx, PLATFORM_CHAIN))).toMatchObject({ ok: true, entries: 1 });
	expect(await store.db.asTenant(parseTenantId('nosy'), (tx) => listAudit(tx, { tenantId: PLATFORM_CHAIN, limit: 9 }))).toEqual(
		[],
	);
});

test('a full buffer makes the next caller wait while the store is down, and loses nothing when it is back', async () => {
	const tenant = parseTenantId('buffered');
	let isDown = true;
	const db: typeof store.db = Object.assign(Object.create(store.db), {
		asSystem: (run: never) => (isDown ? Promise.reject(new Error('down')) : store.db.asSystem(run)),
	});
	const buffer = new AuditBuffer({ db, clock: realClock, log: pino({ level: 'silent' }), capacity: 3 });
	const signal = AbortSignal.timeout(20_000);
	for (let n = 0; n < 3; n += 1) await buffer.add(entry(tenant, n), { signal });
	const impatient = buffer.add(entry(tenant, 99), { signal: AbortSignal.timeout(50) });
	await expect(impatient).rejects.toThrow();
	let isIn = false;
	const waiting = buffer.add(entry(tenant, 3), { signal }).then((added) => {
		isIn = true;
		return added;
	});
	await realClock.sleep(120, { signal });
	expect([isIn, buffer.pending]).toEqual([false, 3]);
	isDown = false;
	await (await waiting).written;
	expect(await buffer.close({ signal })).toBe(0);
	const kept = await store.db.asTenant(tenant, (tx) => listAudit(tx, { tenantId: tenant, limit: 9 }));
	expect(kept.map((record) => record.target).reverse()).toEqual(['pool/0', 'pool/1', 'pool/2', 'pool/3']);
});
