// Blobs that fail on purpose, for tests: every call, or only the n-th `put`.
import type { TenantId } from '@mvm/protocol';
import type { BlobRef, Blobs } from '../../../ports/blobs.ts';

export class FailingBlobs implements Blobs {
	readonly #inner: Blobs;
	readonly #error: Error;
	#putsLeft: number;

	/** Passes `puts` calls of `put` on to `inner`, and everything else until then; from then on all calls fail. */
	constructor(inner: Blobs, options: { readonly puts: number; readonly error: Error }) {
		this.#inner = inner;
		this.#putsLeft = options.puts;
		this.#error = options.error;
	}

	async put(tenant: TenantId, content: AsyncIterable<Uint8Array>, options: Parameters<Blobs['put']>[2]): Promise<BlobRef> {
		this.#putsLeft -= 1;
		return this.#working().put(tenant, content, options);
	}

	get(tenant: TenantId, sha256: string, options: { readonly signal: AbortSignal }): AsyncIterable<Uint8Array> {
		return this.#working().get(tenant, sha256, options);
	}

	async verify(tenant: TenantId, sha256: string, options: { readonly signal: AbortSignal }): Promise<boolean> {
		return this.#working().verify(tenant, sha256, options);
	}

	async has(tenant: TenantId, sha256: string): Promise<boolean> {
		return this.#working().has(tenant, sha256);
	}

	async gc(tenant: TenantId, keep: ReadonlySet<string>, options: Parameters<Blobs['gc']>[2]): Promise<BlobRef[]> {
		return this.#working().gc(tenant, keep, options);
	}

	async dropTenant(tenant: TenantId): Promise<void> {
		return this.#working().dropTenant(tenant);
	}

	#working(): Blobs {
		if (this.#putsLeft < 0) throw this.#error;
		return this.#inner;
	}
}
