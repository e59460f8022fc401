import { parseTenantId } from '@mvm/protocol';
import { expect, test } from 'vitest';
import { blobsContract } from '../../../ports/blobs.contract.ts';
import { FailingBlobs } from '../failing/failing-blobs.ts';
import { MemoryBlobs } from './memory-blobs.ts';

blobsContract('memory', async () => {
	let nowMs = 1_000_000;
	const blobs = new MemoryBlobs({ now: () => nowMs });
	return {
		blobs,
		now: () => nowMs,
		age: async (ms) => {
			nowMs += ms;
		},
		count: async (tenant) => blobs.stored.get(parseTenantId(tenant))?.size ?? 0,
		damage: async (tenant, sha256) => {
			const blob = blobs.stored.get(parseTenantId(tenant))?.get(sha256);
			if (blob !== undefined) blob.bytes = Buffer.concat([blob.bytes.subarray(1), Buffer.from('!')]);
		},
	};
});

test('the failing store works for as many puts as it was told and then not at all', async () => {
	const tenant = parseTenantId('acme');
	const signal = new AbortController().signal;
	const blobs = new FailingBlobs(new MemoryBlobs({ now: () => 0 }), { puts: 1, error: new Error('gone') });
	const content = () =>
		(async function* () {
			yield Buffer.from('x');
		})();
	const { sha256 } = await blobs.put(tenant, content(), { signal });
	expect(await blobs.has(tenant, sha256)).toBe(true);
	await expect(blobs.put(tenant, content(), { signal })).rejects.toThrow('gone');
	await expect(blobs.has(tenant, sha256)).rejects.toThrow('gone');
});
