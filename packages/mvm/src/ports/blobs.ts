// The blob port: content-addressed bytes per tenant. A cross-tenant hash would be an existence oracle, so none is shared.
import type { TenantId } from '@mvm/protocol';

export interface BlobRef {
	/** Lower-case hex. */
	readonly sha256: string;
	readonly bytes: number;
}

export interface Blobs {
	/**
	 * Stores the bytes durably (fsync before return) and returns their hash. Storing the same bytes twice is free. `like`
	 * names a blob that they are probably equal to, so that a large one need not be written to find that out.
	 */
	put(tenant: TenantId, content: AsyncIterable<Uint8Array>, options: { signal: AbortSignal; like?: string }): Promise<BlobRef>;
	/** Streams the bytes; throws BLOB_NOT_FOUND, or BLOB_CORRUPT at the end when they do not match their name. */
	get(tenant: TenantId, sha256: string, options: { signal: AbortSignal }): AsyncIterable<Uint8Array>;
	/** True when the blob exists and its bytes match its name. Reads all of it. */
	verify(tenant: TenantId, sha256: string, options: { signal: AbortSignal }): Promise<boolean>;
	has(tenant: TenantId, sha256: string): Promise<boolean>;
	/** Removes every blob of the tenant that is not in `keep` and older than `minAgeMs`; returns what went. */
	gc(
		tenant: TenantId,
		keep: ReadonlySet<string>,
		options: { minAgeMs: number; nowMs: number; signal: AbortSignal },
	): Promise<BlobRef[]>;
	/** Removes everything of a tenant. */
	dropTenant(tenant: TenantId): Promise<void>;
}
