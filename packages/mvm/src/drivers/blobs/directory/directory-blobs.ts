// Blobs as files: <root>/<tenant>/sha256/ab/cdef…, written beside, fsynced, and renamed into place. Constructed in main/.
// One process writes a root at a time; within it `gc` and `put` of the same bytes cannot cross (both end in one
// synchronous step: a fresh rename, or a look at the age and the removal).
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { createReadStream, rmSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MvmError, parseTenantId, type TenantId } from '@mvm/protocol';
import type { BlobRef, Blobs } from '../../../ports/blobs.ts';

/** Content up to this size is hashed in memory first, so that storing it again writes nothing. */
const SMALL_BYTES = 1024 * 1024;
const COPY_BYTES = 256 * 1024;
/** A temporary file older than this was left by a crash. */
const STALE_TEMPORARY_MS = 60 * 60 * 1000;

export interface DirectoryBlobsOptions {
	/** Made when missing, mode 0700. */
	readonly root: string;
	/** Epoch milliseconds; only used to refresh the age of a blob that is stored again. */
	readonly now: () => number;
}

export class DirectoryBlobs implements Blobs {
	readonly #root: string;
	readonly #now: () => number;

	constructor(options: DirectoryBlobsOptions) {
		this.#root = options.root;
		this.#now = options.now;
	}

	async put(
		tenant: TenantId,
		content: AsyncIterable<Uint8Array>,
		options: { readonly signal: AbortSignal; readonly like?: string },
	): Promise<BlobRef> {
		const { like } = options;
		const writer = new BlobWriter(join(this.#folder(tenant), 'tmp'), like === undefined ? undefined : this.#path(tenant, like));
		try {
			for await (const chunk of content) {
				options.signal.throwIfAborted();
				await writer.push(chunk);
			}
			options.signal.throwIfAborted();
			const ref = writer.ref();
			const path = this.#path(tenant, ref.sha256);
			if (!(await writer.isStored(path, this.#now()))) await writer.moveTo(path);
			return ref;
		} catch (error) {
			throw asBlobError(error);
		} finally {
			await writer.dispose();
		}
	}

	async *get(tenant: TenantId, sha256: string, options: { readonly signal: AbortSignal }): AsyncIterable<Uint8Array> {
		const hash = createHash('sha256');
		try {
			const stream = createReadStream(this.#path(tenant, sha256), { signal: options.signal, highWaterMark: 256 * 1024 });
			for await (const chunk of stream as AsyncIterable<Buffer>) {
				hash.update(chunk);
				yield chunk;
			}
		} catch (error) {
			if (codeOf(error) === 'ENOENT') throw blobNotFound(tenant, sha256);
			if (codeOf(error) === 'EIO') throw blobCorrupt(tenant, sha256, error);
			throw options.signal.aborted ? options.signal.reason : error;
		}
		if (hash.digest('hex') !== sha256) throw blobCorrupt(tenant, sha256);
	}

	async verify(tenant: TenantId, sha256: string, options: { readonly signal: AbortSignal }): Promise<boolean> {
		try {
			for await (const _ of this.get(tenant, sha256, options)) options.signal.throwIfAborted();
			return true;
		} catch (error) {
			const code = codeOf(error);
			if (code === 'BLOB_NOT_FOUND' || code === 'BLOB_CORRUPT') return false;
			throw error;
		}
	}

	async has(tenant: TenantId, sha256: string): Promise<boolean> {
		try {
			return (await stat(this.#path(tenant, sha256))).isFile();
		} catch (error) {
			if (codeOf(error) === 'ENOENT') return false;
			throw error;
		}
	}

	async gc(
		tenant: TenantId,
		keep: ReadonlySet<string>,
		options: { readonly minAgeMs: number; readonly nowMs: number; readonly signal: AbortSignal },
	): Promise<BlobRef[]> {
		const { minAgeMs, nowMs, signal } = options;
		const removed: BlobRef[] = [];
		const objects = join(this.#folder(tenant), 'sha256');
		for (const prefix of await namesIn(objects)) {
			for (const rest of await namesIn(join(objects, prefix))) {
				signal.throwIfAborted();
				const sha256 = prefix + rest;
				if (keep.has(sha256)) continue;
				const bytes = removeOlderThan(join(objects, prefix, rest), nowMs - minAgeMs);
				if (bytes !== undefined) removed.push({ sha256, bytes });
			}
		}
		const temporary = join(this.#folder(tenant), 'tmp');
		for (const name of await namesIn(temporary)) removeOlderThan(join(temporary, name), nowMs - STALE_TEMPORARY_MS);
		return removed;
	}

	async dropTenant(tenant: TenantId): Promise<void> {
		await rm(this.#folder(tenant), { recursive: true, force: true });
		await syncFolder(this.#root).catch(() => {}); // no root yet: nothing was there
	}

	/** The id is parsed again: it becomes a path here. */
	#folder(tenant: TenantId): string {
		return join(this.#root, parseTenantId(tenant));
	}

	#path(tenant: TenantId, sha256: string): string {
		if (!/^[0-9a-f]{64}$/.test(sha256))
			throw new MvmError('INVALID_ID', 'this is not a sha256', { details: { found: sha256.slice(0, 80) } });
		return join(this.#folder(tenant), 'sha256', sha256.slice(0, 2), sha256.slice(2));
	}
}

/**
 * Hashes content as it comes. Small content stays in memory. Larger content is compared with the blob it is said to be
 * like for as long as they agree, and goes to a temporary file from the first difference on (or at once without one).
 */
class BlobWriter {
	readonly #folder: string;
	readonly #likePath: string | undefined;
	readonly #hash: Hash = createHash('sha256');
	/** Content not written anywhere yet; empty once `like` or `file` has taken over. */
	#chunks: Buffer[] = [];
	#bytes = 0;
	#sha256: string | undefined;
	/** Open while everything so far was equal to it. */
	#like: FileHandle | undefined;
	#file: { readonly path: string; readonly handle: FileHandle } | undefined;

	constructor(folder: string, likePath: string | undefined) {
		this.#folder = folder;
		this.#likePath = likePath;
	}

	async push(chunk: Uint8Array): Promise<void> {
		this.#hash.update(chunk);
		const offset = this.#bytes;
		this.#bytes += chunk.byteLength;
		if (this.#file !== undefined) return writeAll(this.#file.handle, chunk);
		if (this.#like !== undefined) {
			if (await isAt(this.#like, offset, chunk)) return;
			const { handle } = await this.#spill(offset);
			return writeAll(handle, chunk);
		}
		this.#chunks.push(Buffer.from(chunk)); // a copy: the giver may use its buffer again
		if (this.#bytes > SMALL_BYTES && !(await this.#follow())) await this.#spill(0);
	}

	ref(): BlobRef {
		this.#sha256 ??= this.#hash.digest('hex');
		return { sha256: this.#sha256, bytes: this.#bytes };
	}

	/** True when exactly these bytes are there already; their age then starts again, so that gc leaves them alone. */
	async isStored(path: string, nowMs: number): Promise<boolean> {
		if (this.#file !== undefined) return false; // written already: renaming costs nothing and mends a damaged one
		try {
			if (this.#like === undefined) {
				if (!(await readFile(path)).equals(Buffer.concat(this.#chunks))) return false;
			} else if (path !== this.#likePath || (await this.#like.stat()).size !== this.#bytes) {
				return false; // it goes on after these bytes end
			}
			utimesSync(path, nowMs / 1000, nowMs / 1000);
			return true;
		} catch {
			return false; // not there, or not readable: written anew
		}
	}

	async moveTo(path: string): Promise<void> {
		const { handle, path: temporary } = this.#file ?? (await this.#spill(this.#bytes));
		await handle.sync();
		const folder = dirname(path);
		if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined) {
			await syncFolder(dirname(folder));
			await syncFolder(dirname(dirname(folder)));
			await syncFolder(dirname(dirname(dirname(folder))));
		}
		await rename(temporary, path);
		await syncFolder(folder);
	}

	async dispose(): Promise<void> {
		await this.#like?.close();
		if (this.#file === undefined) return;
		await this.#file.handle.close();
		rmSync(this.#file.path, { force: true });
	}

	/** Starts comparing instead of keeping; false when there is nothing to compare with or it differs already. */
	async #follow(): Promise<boolean> {
		if (this.#likePath === undefined) return false;
		const like = await open(this.#likePath, 'r').catch(() => undefined); // not there: content is written
		if (like === undefined) return false;
		if (!(await isAt(like, 0, Buffer.concat(this.#chunks)))) {
			await like.close();
			return false;
		}
		this.#like = like;
		this.#chunks = [];
		return true;
	}

	/** Opens the temporary file and writes what came so far: the kept chunks, or the first `equalBytes` of the like blob. */
	async #spill(equalBytes: number): Promise<{ readonly path: string; readonly handle: FileHandle }> {
		await mkdir(this.#folder, { recursive: true, mode: 0o700 });
		const path = join(this.#folder, randomBytes(12).toString('hex'));
		this.#file = { path, handle: await open(path, 'wx', 0o600) };
		for (const chunk of this.#chunks) await writeAll(this.#file.handle, chunk);
		this.#chunks = [];
		if (this.#like === undefined) return this.#file;
		const buffer = Buffer.alloc(COPY_BYTES);
		for (let offset = 0; offset < equalBytes; ) {
			const { bytesRead } = await this.#like.read(buffer, 0, Math.min(COPY_BYTES, equalBytes - offset), offset);
			if (bytesRead === 0) throw new MvmError('BLOB_CORRUPT', 'a blob became shorter while it was read');
			await writeAll(this.#file.handle, buffer.subarray(0, bytesRead));
			offset += bytesRead;
		}
		await this.#like.close();
		this.#like = undefined;
		return this.#file;
	}
}

/** True when the file holds exactly `chunk` at `offset`. */
async function isAt(file: FileHandle, offset: number, chunk: Uint8Array): Promise<boolean> {
	const present = Buffer.alloc(chunk.byteLength);
	for (let filled = 0; filled < present.length; ) {
		const { bytesRead } = await file.read(present, filled, present.length - filled, offset + filled);
		if (bytesRead === 0) return false;
		filled += bytesRead;
	}
	return present.equals(chunk);
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
	let offset = 0;
	while (offset < chunk.byteLength) {
		const { bytesWritten } = await handle.write(chunk, offset, chunk.byteLength - offset);
		offset += bytesWritten;
	}
}

/** Look and removal are one step, so a blob that is being stored again is either younger or written anew. */
function removeOlderThan(path: string, beforeMs: number): number | undefined {
	try {
		const { mtimeMs, size } = statSync(path);
		if (mtimeMs >= beforeMs) return undefined;
		unlinkSync(path);
		return size;
	} catch (error) {
		if (codeOf(error) === 'ENOENT') return undefined;
		throw error;
	}
}

async function namesIn(folder: string): Promise<string[]> {
	try {
		return await readdir(folder);
	} catch (error) {
		if (codeOf(error) === 'ENOENT') return [];
		throw error;
	}
}

async function syncFolder(path: string): Promise<void> {
	const handle = await open(path, 'r');
	try {
		await handle.sync();
	} finally {
		await handle.close();
	}
}

const codeOf = (error: unknown): unknown =>
	typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;

function asBlobError(error: unknown): unknown {
	const code = codeOf(error);
	if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
	return new MvmError('DISK_FULL', 'there is no room left for blobs; nothing was stored', {
		hint: 'free space on the file system that holds the data directory',
		cause: error,
	});
}

function blobNotFound(tenant: TenantId, sha256: string): MvmError {
	return new MvmError('BLOB_NOT_FOUND', `blob ${sha256.slice(0, 12)}… of ${tenant} is not in the store`, {
		details: { tenant_id: tenant, sha256 },
	});
}

function blobCorrupt(tenant: TenantId, sha256: string, cause?: unknown): MvmError {
	return new MvmError('BLOB_CORRUPT', `blob ${sha256.slice(0, 12)}… of ${tenant} does not match its name`, {
		details: { tenant_id: tenant, sha256 },
		hint: 'the disk or somebody changed it; a checkpoint that needs it is not used',
		cause,
	});
}
