// Blobs in memory, for tests of everything above the port.
import { createHash } from 'node:crypto';
import { MvmError, type TenantId } from '@mvm/protocol';
import type { BlobRef, Blobs } from '../../../ports/blobs.ts';

export class MemoryBlobs implements Blobs {
	/** Tenant → sha256 → content; open, so that a test can damage or remove one. */
	readonly stored = new Map<TenantId, Map<string, { bytes: Buffer; storedAtMs: number }>>();
	readonly #now: () => number;

	constructor(options: { readonly now: () => number }) {
		this.#now = options.now;
	}

	async put(tenant: TenantId, content: AsyncIterable<Uint8Array>, options: { readonly signal: AbortSignal }): Promise<BlobRef> {
		const chunks: Buffer[] = [];
		for await (const chunk of content) {
			options.signal.throwIfAborted();
			chunks.push(Buffer.from(chunk));
		}
		options.signal.throwIfAborted();
		const bytes = Buffer.concat(chunks);
		const sha256 = createHash('sha256').update(bytes).digest('hex');
		const own = this.stored.get(tenant) ?? new Map();
		this.stored.set(tenant, own);
		own.set(sha256, { bytes, storedAtMs: this.#now() });
		return { sha256, bytes: bytes.length };
	}

	async *get(tenant: TenantId, sha256: string, options: { readonly signal: AbortSignal }): AsyncIterable<Uint8Array> {
		options.signal.throwIfAborted();
		const blob = this.stored.get(tenant)?.get(sha256);
		if (blob === undefined) throw new MvmError('BLOB_NOT_FOUND', 'this blob is not in the store', { details: { sha256 } });
		yield blob.bytes;
		if (createHash('sha256').update(blob.bytes).digest('hex') !== sha256)
			throw new MvmError('BLOB_CORRUPT', 'this blob does not match its name', { details: { sha256 } });
	}

	async verify(tenant: TenantId, sha256: string): Promise<boolean> {
		const blob = this.stored.get(tenant)?.get(sha256);
		return blob !== undefined && createHash('sha256').update(blob.bytes).digest('hex') === sha256;
	}

	async has(tenant: TenantId, sha256: string): Promise<boolean> {
		return this.stored.get(tenant)?.has(sha256) ?? false;
	}

	async gc(
		tenant: TenantId,
		keep: ReadonlySet<string>,
		options: { readonly minAgeMs: number; readonly nowMs: number },
	): Promise<BlobRef[]> {
		const removed: BlobRef[] = [];
		for (const [sha256, blob] of this.stored.get(tenant) ?? []) {
			if (keep.has(sha256) || blob.storedAtMs >= options.nowMs - options.minAgeMs) continue;
			this.stored.get(tenant)?.delete(sha256);
			removed.push({ sha256, bytes: blob.bytes.length });
		}
		return removed;
	}

	async dropTenant(tenant: TenantId): Promise<void> {
		this.stored.delete(tenant);
	}
}
