import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CheckpointId, MvmError, parseInstanceId, type TenantId } from '@mvm/protocol';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withDatabase } from '../../../../../test/support/postgres.ts';
import { realClock } from '../../../../../test/support/real-clock.ts';
import { plantPool, plantTenant } from '../../../../../test/support/store-fixtures.ts';
import { DirectoryBlobs } from '../../drivers/blobs/directory/directory-blobs.ts';
import { FailingBlobs } from '../../drivers/blobs/failing/failing-blobs.ts';
import type { Blobs } from '../../ports/blobs.ts';
import type { DataEntry, Runtime } from '../../ports/runtime.ts';
import { returnMessages, settleMessages } from '../ingress/settle-messages.ts';
import { readManifest } from '../manifest.ts';
import { getCheckpoint, listCheckpoints } from './checkpoint-rows.ts';
import { CheckpointStore, type CheckpointSubject } from './checkpoint-store.ts';

const store = withDatabase();
const folder = mkdtempSync(join(tmpdir(), 'mvm-checkpoint-'));
const blobs = new DirectoryBlobs({ root: folder, now: () => Date.now() });
const signal = new AbortController().signal;
let tenantId: TenantId;
let instances = 0;
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
	tenantId = await plantTenant(store.db, 'acme');
	await plantPool(store.db, tenantId, 'workers');
});

/** What a runtime would walk and put back: path → content. */
type Data = Record<string, string>;
class FakeRuntime implements Pick<Runtime, 'checkpointData' | 'restoreData'> {
	data: Data = {};
	lies = 0;
	async checkpointData() {
		return { entries: walk(this.data, this.lies), refused: () => [{ path: 'a.sock', why: 'socket' }] };
	}
	async restoreData(_id: never, entries: AsyncIterable<DataEntry>) {
		const restored: Data = {};
		let bytes = 0;
		for await (const entry of entries) {
			if (entry.content === undefined) continue;
			const chunks: Uint8Array[] = [];
			try {
				for await (const chunk of entry.content) chunks.push(chunk);
			} catch {
				throw new Error('hostd: the transfer broke off'); // as a runtime behind a socket would say it
			}
			restored[entry.path] = Buffer.concat(chunks).toString();
			bytes += entry.bytes;
		}
		this.data = restored;
		return { entries: Object.keys(restored).length, bytes };
	}
}
async function* walk(data: Data, lies: number): AsyncGenerator<DataEntry> {
	const base = { uid: 1000, gid: 1000, mtimeMs: 1_700_000_000_000.7 };
	yield { ...base, path: 'd', kind: 'dir', mode: 0o755, bytes: 0 };
	yield { ...base, path: 'd/link', kind: 'symlink', mode: 0o777, bytes: 0, linkText: '../../etc/passwd' };
	for (const [path, text] of Object.entries(data)) {
		const content = (async function* () {
			yield Buffer.from(text);
		})();
		yield { ...base, path, kind: 'file', mode: 0o600, bytes: Buffer.byteLength(text) + lies, content };
	}
}

async function subject(): Promise<CheckpointSubject> {
	instances += 1;
	const id = parseInstanceId(`i-${instances.toString(16).padStart(8, '0')}`);
	await store.asSuperuser("insert into instance (id, tenant_id, pool_id, state) values ($1, $2, 'workers', 'running')", [
		id,
		tenantId,
	]);
	return { id, tenantId, incarnation: 3, image: 'cafe' };
}
function make(runtime: FakeRuntime, under: Blobs = blobs): CheckpointStore {
	return new CheckpointStore({
		db: store.db,
		blobs: under,
		runtime,
		clock: realClock,
		random: (n) => randomBytes(n),
		log: pino({ level: 'silent' }),
	});
}
const versions = { schemaVersions: { openclaw: '2026.9.6' } };
const rows = (instance: CheckpointSubject) => store.db.asTenant(tenantId, (tx) => listCheckpoints(tx, instance.id));
const sha256Of = (text: string) => createHash('sha256').update(text).digest('hex');
const filesOf = (tenant: string) =>
	readdirSync(join(folder, tenant), { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile())
		.map((entry) => join(entry.parentPath, entry.name));
async function flip(sha256: string): Promise<void> {
	const file = await open(join(folder, tenantId, 'sha256', sha256.slice(0, 2), sha256.slice(2)), 'r+');
	const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 3);
	await file.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, 3);
	await file.close();
}
async function blobOf(id: CheckpointId, path: string): Promise<string> {
	const row = await store.db.asTenant(tenantId, (tx) => getCheckpoint(tx, id));
	const manifest = await readManifest({ blobs, tenantId }, row.manifestSha256, { signal });
	const entry = manifest.entries.find((e) => e.path === path);
	return entry?.kind === 'file' ? entry.sha256 : '';
}
/** Three checkpoints of one instance, whose file `state` says 1, 2, 3. */
async function three(): Promise<{
	instance: CheckpointSubject;
	runtime: FakeRuntime;
	checkpoints: CheckpointStore;
	ids: CheckpointId[];
}> {
	const runtime = new FakeRuntime();
	const checkpoints = make(runtime);
	const instance = await subject();
	const ids: CheckpointId[] = [];
	for (const n of [1, 2, 3]) {
		runtime.data = { 'd/state': `content ${n} of ${instance.id}`, same: 'never changes' };
		ids.push((await checkpoints.write({ instance, frozenAt: new Date(1_000 * n), ...versions }, { signal })).checkpointId);
	}
	return { instance, runtime, checkpoints, ids };
}

test('a checkpoint holds everything of the walk, follows the one before it, and comes back as it was', async () => {
	const { instance, runtime, checkpoints, ids } = await three();
	const [newest, second] = await rows(instance);
	expect(newest).toMatchObject({
		id: ids[2],
		parentId: second?.id,
		state: 'good',
		entries: 4,
		incarnation: 3,
		image: 'cafe',
		schemaVersions: { openclaw: '2026.9.6' },
	});
	const manifest = await readManifest({ blobs, tenantId }, newest?.manifestSha256 ?? '', { signal });
	expect(manifest.parent).toBe(second?.manifestSha256);
	expect(manifest.entries).toContainEqual({
		path: 'd/link',
		kind: 'symlink',
		linkText: '../../etc/passwd',
		mode: 0o777,
		uid: 1000,
		gid: 1000,
		mtimeMs: 1_700_000_000_000,
	});
	runtime.data = {};
	expect(await checkpoints.restore(instance, { allowFallback: true, signal })).toEqual({
		checkpointId: ids[2],
		frozenAt: new Date(3_000),
		skipped: [],
	});
	expect(runtime.data).toEqual({ 'd/state': `content 3 of ${instance.id}`, same: 'never changes' });
});

test('a flipped byte is refused: the checkpoint is marked bad with the reason, and the one before it is used and named', async () => {
	const { instance, runtime, checkpoints, ids } = await three();
	await flip(await blobOf(ids[2] as CheckpointId, 'd/state'));
	expect(await checkpoints.restore(instance, { allowFallback: true, signal })).toMatchObject({
		checkpointId: ids[1],
		skipped: [ids[2]],
	});
	expect(runtime.data['d/state']).toBe(`content 2 of ${instance.id}`);
	expect((await rows(instance))[0]).toMatchObject({ id: ids[2], state: 'bad', badReason: 'the content of "d/state" is damaged' });
	expect(await checkpoints.verify(tenantId, ids[1] as CheckpointId, { signal })).toBeUndefined();
	// A new checkpoint follows the good one, not the bad one.
	const next = await checkpoints.write({ instance, frozenAt: new Date(9_000), ...versions }, { signal });
	expect(await store.db.asTenant(tenantId, (tx) => getCheckpoint(tx, next.checkpointId))).toMatchObject({ parentId: ids[1] });
});

test('who asks is told of the choice before anything is put back, so that a crash cannot come between the two', async () => {
	const { instance, runtime, checkpoints, ids } = await three();
	await flip(await blobOf(ids[2] as CheckpointId, 'd/state'));
	runtime.data = { state: 'as it was' };
	const told: string[] = [];
	const onChosen = async ({ checkpointId }: { readonly checkpointId: CheckpointId }): Promise<void> => {
		expect(runtime.data).toEqual({ state: 'as it was' });
		told.push(checkpointId);
		throw new MvmError('STORE_UNAVAILABLE', 'the platform ends here');
	};
	await expect(checkpoints.restore(instance, { allowFallback: true, signal, onChosen })).rejects.toMatchObject({
		code: 'STORE_UNAVAILABLE',
	});
	expect([told, runtime.data]).toEqual([[ids[1]], { state: 'as it was' }]);
});

test('where rolling back is forbidden a damaged checkpoint stops it, now and at the next try, and nothing is put back', async () => {
	const { instance, runtime, checkpoints, ids } = await three();
	const [newest] = await rows(instance);
	await flip(newest?.manifestSha256 ?? '');
	runtime.data = { live: 'untouched' };
	for (let round = 0; round < 2; round += 1)
		await expect(checkpoints.restore(instance, { allowFallback: false, signal })).rejects.toMatchObject({
			code: 'NEEDS_ATTENTION',
			details: { skipped: [{ id: ids[2], why: 'its manifest is damaged' }] },
		});
	expect(runtime.data).toEqual({ live: 'untouched' });
});

test('damage between the check and the copy is found too; when nothing is left that is said', async () => {
	const { instance, runtime, checkpoints, ids } = await three();
	const shared = await blobOf(ids[0] as CheckpointId, 'same');
	let verified = 0;
	const sly: Blobs = Object.assign(Object.create(blobs), {
		verify: async (tenant: TenantId, sha256: string, options: { signal: AbortSignal }) => {
			const good = await blobs.verify(tenant, sha256, options);
			verified += 1;
			if (verified === 2) await flip(shared);
			return good;
		},
		get: (tenant: TenantId, sha256: string, options: { signal: AbortSignal }) => blobs.get(tenant, sha256, options),
		has: (tenant: TenantId, sha256: string) => blobs.has(tenant, sha256),
	});
	await expect(make(runtime, sly).restore(instance, { allowFallback: true, signal })).rejects.toMatchObject({
		code: 'CHECKPOINT_CORRUPT',
		details: { skipped: [{ id: ids[2] }, { id: ids[1] }, { id: ids[0] }] },
	});
	await expect(checkpoints.restore(await subject(), { allowFallback: true, signal })).rejects.toMatchObject({
		code: 'CHECKPOINT_NOT_FOUND',
	});
});

test('a checkpoint that cannot be stored or contradicts its walk leaves no row, and the one before it stays the newest', async () => {
	const runtime = new FakeRuntime();
	const instance = await subject();
	runtime.data = { state: 'one' };
	const { checkpointId } = await make(runtime).write({ instance, frozenAt: new Date(1), ...versions }, { signal });
	const full = new MvmError('DISK_FULL', 'there is no room');
	runtime.data = { state: 'two', more: 'more' };
	for (const puts of [0, 1, 2]) {
		const failing = make(runtime, new FailingBlobs(blobs, { puts, error: full }));
		await expect(failing.write({ instance, frozenAt: new Date(2), ...versions }, { signal })).rejects.toMatchObject({
			code: 'DISK_FULL',
		});
	}
	runtime.lies = 1;
	await expect(make(runtime).write({ instance, frozenAt: new Date(2), ...versions }, { signal })).rejects.toMatchObject({
		code: 'CHECKPOINT_FAILED',
	});
	expect((await rows(instance)).map((row) => row.id)).toEqual([checkpointId]);
	expect(await make(runtime).restore(instance, { allowFallback: false, signal })).toMatchObject({ checkpointId });
	expect(runtime.data).toEqual({ state: 'one' });
});

test('a version newer than the runtime is skipped without being called bad', async () => {
	const { instance, checkpoints, ids } = await three();
	await expect(
		checkpoints.restore(instance, { allowFallback: true, runtimeVersions: { openclaw: '2026.9.5' }, signal }),
	).rejects.toMatchObject({
		code: 'CHECKPOINT_CORRUPT',
		details: { skipped: expect.arrayContaining([{ id: ids[0], why: expect.stringContaining('2026.9.5') }]) },
	});
	expect((await rows(instance)).map((row) => row.state)).toEqual(['good', 'good', 'good']);
});

test('whatever checkpoint is fallen back to, every message it does not contain can be delivered again; the others keep no body', async () => {
	const runtime = new FakeRuntime();
	const checkpoints = make(runtime);
	const instance = await subject();
	const ids: CheckpointId[] = [];
	const bodies = () =>
		store.asSuperuser<{ n: string; kept: boolean }>(
			'select event_id as n, body is not null as kept from ingress_message where instance_id = $1 order by id',
			[instance.id],
		);
	for (let n = 1; n <= 8; n += 1) {
		await store.asSuperuser(
			"insert into ingress_message (tenant_id, pool_id, channel, event_id, path, headers, body, body_bytes, trace_id, state, instance_id, taken_at) values ($1, 'workers', $2, $3, '/', '{}', 'x', 1, 't', 'taken', $2, $4)",
			[tenantId, instance.id, n, new Date(1_000 * n - 500)],
		);
		const frozenAt = new Date(1_000 * n);
		runtime.data = { state: `after ${n}` };
		const { checkpointId } = await checkpoints.write({ instance, frozenAt, ...versions }, { signal });
		await store.db.asSystem((tx) => settleMessages(tx, { instanceId: instance.id, checkpointId, frozenAt }));
		await store.asSuperuser('update instance set checkpoint_id = $1 where id = $2', [checkpointId, instance.id]);
		ids.push(checkpointId);
		const oldest = (await rows(instance)).at(-1);
		const needed = (await bodies()).filter((row) => Number(row.n) * 1_000 > (oldest?.frozenAt.getTime() ?? 0));
		expect(needed.map((row) => row.kept)).toEqual(needed.map(() => true));
	}
	expect((await rows(instance)).length).toBeLessThanOrEqual(5); // it does not grow with the number of checkpoints
	expect((await bodies()).filter((row) => row.kept).length).toBeLessThanOrEqual(5);
	for (const id of ids.slice(-2)) await flip(await blobOf(id, 'state'));
	const { checkpointId, frozenAt, skipped } = await checkpoints.restore(instance, { allowFallback: true, signal });
	expect([checkpointId, skipped.length]).toEqual([ids[5], 2]);
	expect(await store.db.asSystem((tx) => returnMessages(tx, { instanceId: instance.id, frozenAt }))).toBe(2);
});

test('gc during a checkpoint that takes long leaves what it has stored so far', async () => {
	const runtime = new FakeRuntime();
	const instance = await subject();
	const { promise, resolve } = Promise.withResolvers<void>();
	const slow = {
		restoreData: runtime.restoreData,
		checkpointData: async () => ({
			refused: () => [],
			entries: (async function* () {
				yield* walk({ early: 'stored early, long ago' }, 0);
				await promise;
				for await (const entry of walk({ late: 'stored late' }, 0)) if (entry.kind === 'file') yield entry;
			})(),
		}),
	};
	const checkpoints = make(slow as unknown as FakeRuntime);
	const writing = checkpoints.write({ instance, frozenAt: new Date(1), ...versions }, { signal });
	await expect.poll(() => blobs.has(tenantId, sha256Of('stored early, long ago'))).toBe(true);
	for (const path of filesOf(tenantId)) utimesSync(path, 1, 1);
	await checkpoints.gc(tenantId, { signal });
	resolve();
	const { checkpointId } = await writing;
	expect(await checkpoints.verify(tenantId, checkpointId, { signal })).toBeUndefined();
});

test('gc keeps the newest three, what the instance names, and what a message may have to be delivered after', async () => {
	const { instance, runtime, checkpoints, ids } = await three();
	await store.asSuperuser('update instance set checkpoint_id = $1 where id = $2', [ids[0], instance.id]);
	await store.asSuperuser(
		"insert into ingress_message (tenant_id, pool_id, channel, event_id, path, headers, body, body_bytes, trace_id, state, checkpoint_id, instance_id, taken_at) values ($1, 'workers', 'c', '1', '/', '{}', 'x', 1, 't', 'settled', $2, $3, now())",
		[tenantId, ids[1], instance.id],
	);
	for (const n of [4, 5, 6, 7]) {
		runtime.data = { 'd/state': `content ${n} of ${instance.id}` };
		ids.push((await checkpoints.write({ instance, frozenAt: new Date(1_000 * n), ...versions }, { signal })).checkpointId);
	}
	const old = new CheckpointStore({
		db: store.db,
		blobs,
		runtime,
		clock: { ...realClock, now: () => Date.now() + 7 * 60 * 60 * 1000 },
		random: (n) => randomBytes(n),
		log: pino({ level: 'silent' }),
	});
	const before = sha256Of(`content 3 of ${instance.id}`);
	const kept = (await rows(instance)).map((row) => row.id); // rows go with the next checkpoint, blobs with gc once they are old
	expect(await checkpoints.gc(tenantId, { signal })).toEqual([]);
	expect(kept).toEqual([ids[6], ids[5], ids[4], ids[1], ids[0]]);
	expect((await old.gc(tenantId, { signal })).map((ref) => ref.sha256)).toContain(before);
	for (const id of kept) expect(await checkpoints.verify(tenantId, id, { signal })).toBeUndefined();
	await store.asSuperuser("update instance set state = 'destroyed' where tenant_id = $1", [tenantId]);
	await store.asSuperuser('delete from ingress_message');
	await old.gc(tenantId, { signal });
	expect(await rows(instance)).toEqual([]);
});
