// What every blob store must do. Called by the test of each driver; a driver that cannot do a part names it in `skip`.
import { parseTenantId } from '@mvm/protocol';
import { describe, expect, test } from 'vitest';
import type { Blobs } from './blobs.ts';

export interface BlobsUnderTest {
	readonly blobs: Blobs;
	/** Changes one byte of a stored blob behind the store's back. */
	readonly damage: (tenant: string, sha256: string) => Promise<void>;
	/** How many blobs and leftovers of any kind the tenant has. */
	readonly count: (tenant: string) => Promise<number>;
	/** Moves the store's clock and the age of what is stored. */
	readonly age: (ms: number) => Promise<void>;
	readonly now: () => number;
}

const [a, b] = [parseTenantId('acme'), parseTenantId('globex')];
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const signal = new AbortController().signal;

async function* chunksOf(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
	for (const part of parts) yield typeof part === 'string' ? Buffer.from(part) : part;
}

async function readAll(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
	const chunks: Uint8Array[] = [];
	for await (const chunk of content) chunks.push(chunk);
	return Buffer.concat(chunks);
}

/** Runs the contract over fresh stores made by `make`; `make` registers its own cleanup. */
export function blobsContract(name: string, make: () => Promise<BlobsUnderTest>): void {
	describe(`blobs contract: ${name}`, () => {
		test('what is put comes back by its hash, however it was cut into chunks', async () => {
			const { blobs, count } = await make();
			const ref = await blobs.put(a, chunksOf('hel', '', 'lo'), { signal });
			expect(ref).toEqual({ sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824', bytes: 5 });
			expect(await blobs.put(a, chunksOf('hello'), { signal })).toEqual(ref);
			expect(await count(a)).toBe(1);
			expect((await readAll(blobs.get(a, ref.sha256, { signal }))).toString()).toBe('hello');
			expect(await blobs.has(a, ref.sha256)).toBe(true);
			expect(await blobs.verify(a, ref.sha256, { signal })).toBe(true);
			expect(await blobs.put(a, chunksOf(), { signal })).toEqual({ sha256: EMPTY, bytes: 0 });
			expect(await readAll(blobs.get(a, EMPTY, { signal }))).toHaveLength(0);
		});

		test('large content from one reused buffer is stored as it was when given', async () => {
			const { blobs } = await make();
			const buffer = Buffer.alloc(300_000);
			const wanted: Buffer[] = [];
			async function* reused(): AsyncGenerator<Uint8Array> {
				for (let n = 0; n < 12; n += 1) {
					buffer.fill(n);
					wanted.push(Buffer.from(buffer));
					yield buffer;
				}
			}
			const ref = await blobs.put(a, reused(), { signal });
			expect(ref.bytes).toBe(3_600_000);
			expect((await readAll(blobs.get(a, ref.sha256, { signal }))).equals(Buffer.concat(wanted))).toBe(true);
		});

		test('a blob of one tenant does not exist for another', async () => {
			const { blobs } = await make();
			const { sha256 } = await blobs.put(a, chunksOf('mine'), { signal });
			expect(await blobs.has(b, sha256)).toBe(false);
			expect(await blobs.verify(b, sha256, { signal })).toBe(false);
			await expect(readAll(blobs.get(b, sha256, { signal }))).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' });
			await blobs.dropTenant(b);
			await blobs.put(b, chunksOf('mine'), { signal });
			await blobs.dropTenant(a);
			expect([await blobs.has(a, sha256), await blobs.has(b, sha256)]).toEqual([false, true]);
		});

		test('damage is found by verify and at the end of a read, and mended by storing the bytes again', async () => {
			const { blobs, damage } = await make();
			for (const content of ['small', Buffer.alloc(2_500_000, 7)]) {
				const { sha256 } = await blobs.put(a, chunksOf(content), { signal });
				await damage(a, sha256);
				expect(await blobs.verify(a, sha256, { signal })).toBe(false);
				await expect(readAll(blobs.get(a, sha256, { signal }))).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
				await blobs.put(a, chunksOf(content), { signal });
				expect(await blobs.verify(a, sha256, { signal })).toBe(true);
			}
		});

		test('content that is said to be like a blob is stored as what it is: equal, changed, longer, shorter, or like nothing', async () => {
			const { blobs, count, damage } = await make();
			const base = Buffer.alloc(3_000_000, 5);
			const like = (await blobs.put(a, chunksOf(base), { signal })).sha256;
			const changed = Buffer.from(base);
			changed[2_500_000] = 6;
			const first = Buffer.from(base);
			first[0] = 6;
			const variants = [
				base,
				changed,
				first,
				Buffer.concat([base, Buffer.from('more')]),
				base.subarray(0, 2_000_000),
				Buffer.from('small'),
			];
			for (const variant of variants) {
				for (const hint of [like, 'e'.repeat(64)]) {
					const parts = Array.from({ length: Math.ceil(variant.length / 700_000) }, (_, n) =>
						variant.subarray(n * 700_000, (n + 1) * 700_000),
					);
					const ref = await blobs.put(a, chunksOf(...parts), { signal, like: hint });
					expect(ref.bytes).toBe(variant.length);
					expect((await readAll(blobs.get(a, ref.sha256, { signal }))).equals(variant)).toBe(true);
				}
			}
			expect(await count(a)).toBe(variants.length);
			await damage(a, like);
			await blobs.put(a, chunksOf(base), { signal, like });
			expect(await blobs.verify(a, like, { signal })).toBe(true);
		});

		test('a put that fails or is aborted leaves nothing', async () => {
			const { blobs, count } = await make();
			async function* breaking(bytes: number): AsyncGenerator<Uint8Array> {
				yield Buffer.alloc(bytes);
				throw new Error('source broke');
			}
			await expect(blobs.put(a, breaking(10), { signal })).rejects.toThrow('source broke');
			await expect(blobs.put(a, breaking(2_000_000), { signal })).rejects.toThrow('source broke');
			const aborted = AbortSignal.abort(new Error('no longer wanted'));
			await expect(blobs.put(a, chunksOf(Buffer.alloc(2_000_000)), { signal: aborted })).rejects.toThrow('no longer wanted');
			expect(await count(a)).toBe(0);
		});

		test('gc removes what is neither kept nor young, and says what', async () => {
			const { blobs, age, now } = await make();
			const kept = await blobs.put(a, chunksOf('kept'), { signal });
			const old = await blobs.put(a, chunksOf('old'), { signal });
			const again = await blobs.put(a, chunksOf('stored again'), { signal });
			const foreign = await blobs.put(b, chunksOf('old'), { signal });
			await age(10_000);
			const young = await blobs.put(a, chunksOf('young'), { signal });
			await blobs.put(a, chunksOf('stored again'), { signal });
			const removed = await blobs.gc(a, new Set([kept.sha256]), { minAgeMs: 5_000, nowMs: now(), signal });
			expect(removed).toEqual([old]);
			for (const ref of [kept, again, young]) expect(await blobs.verify(a, ref.sha256, { signal })).toBe(true);
			expect(await blobs.has(b, foreign.sha256)).toBe(true);
		});

		test('the same bytes stored many times at once are one good blob', async () => {
			const { blobs, count } = await make();
			const refs = await Promise.all(
				Array.from({ length: 12 }, () => blobs.put(a, chunksOf(Buffer.alloc(1_500_000, 3)), { signal })),
			);
			expect(new Set(refs.map((ref) => ref.sha256)).size).toBe(1);
			expect(await blobs.verify(a, refs[0]?.sha256 ?? '', { signal })).toBe(true);
			expect(await count(a)).toBe(1);
		});
	});
}
