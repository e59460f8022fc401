import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTenantId } from '@mvm/protocol';
import { afterAll, expect, test } from 'vitest';
import { blobsContract } from '../../../ports/blobs.contract.ts';
import { DirectoryBlobs } from './directory-blobs.ts';

const folder = mkdtempSync(join(tmpdir(), 'mvm-blobs-'));
afterAll(() => rmSync(folder, { recursive: true }));
const signal = new AbortController().signal;
let stores = 0;

function filesIn(root: string): string[] {
	try {
		return readdirSync(root, { recursive: true, withFileTypes: true })
			.filter((entry) => entry.isFile())
			.map((entry) => join(entry.parentPath, entry.name));
	} catch {
		return [];
	}
}

async function make() {
	stores += 1;
	const root = join(folder, `store-${stores}`);
	return {
		root,
		blobs: new DirectoryBlobs({ root, now: () => Date.now() }),
		now: () => Date.now(),
		age: async (ms: number) => {
			for (const file of filesIn(root)) {
				const at = statSync(file).mtimeMs - ms;
				utimesSync(file, at / 1000, at / 1000);
			}
		},
		count: async (tenant: string) => filesIn(join(root, tenant)).length,
		damage: async (tenant: string, sha256: string) => {
			const file = await open(join(root, tenant, 'sha256', sha256.slice(0, 2), sha256.slice(2)), 'r+');
			const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 0);
			await file.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, 0);
			await file.close();
		},
	};
}

blobsContract('directory', make);

const content = (text: string) =>
	(async function* () {
		yield Buffer.from(text);
	})();

test('folders are 0700 and files 0600', async () => {
	const { root, blobs } = await make();
	await blobs.put(parseTenantId('acme'), content('x'), { signal });
	for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
		const mode = statSync(join(entry.parentPath, entry.name)).mode & 0o777;
		expect(mode).toBe(entry.isFile() ? 0o600 : 0o700);
	}
});

test('a name that is not a hash and a tenant that is not an id never become a path', async () => {
	const { blobs } = await make();
	const tenant = parseTenantId('acme');
	for (const name of ['../../../etc/passwd', 'ab', `${'a'.repeat(63)}/`, ''])
		await expect(blobs.has(tenant, name)).rejects.toMatchObject({ code: 'INVALID_ID' });
	await expect(blobs.put('../acme' as typeof tenant, content('x'), { signal })).rejects.toMatchObject({ code: 'INVALID_ID' });
});

test('gc clears what a crash left half-written, after an hour', async () => {
	const { root, blobs, age, count } = await make();
	const tenant = parseTenantId('acme');
	await blobs.put(tenant, content('x'), { signal });
	const left = await open(join(root, 'acme', 'tmp', 'left-by-a-crash'), 'w');
	await left.close();
	const { sha256 } = await blobs.put(tenant, content('y'), { signal });
	await age(3_700_000);
	await blobs.gc(tenant, new Set([sha256]), { minAgeMs: 10_000_000, nowMs: Date.now(), signal });
	expect(await count('acme')).toBe(2);
});
