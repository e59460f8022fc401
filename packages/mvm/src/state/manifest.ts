// Turns a walk of a frozen `/data` into blobs and a manifest, and a manifest back into entries. Over the blob port only;
// the rows beside it are checkpoint/'s. A manifest is itself a blob, named by the hash of its canonical text.
import { isMvmError, MvmError, type TenantId } from '@mvm/protocol';
import {
	type CheckpointManifest,
	checkEntries,
	decodeManifest,
	encodeManifest,
	type ManifestEntry,
} from '../domain/checkpoint-manifest.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { DataEntry } from '../ports/runtime.ts';

/** Blobs that are read at a time while verifying. */
const PARALLEL = 4;
const MAX_MANIFEST_BYTES = 512 * 1024 * 1024;

interface Options {
	readonly signal: AbortSignal;
}

/** Where blobs are and whose. */
export interface BlobScope {
	readonly blobs: Blobs;
	readonly tenantId: TenantId;
}

export interface StoredManifest {
	readonly sha256: string;
	readonly manifest: CheckpointManifest;
	/** Sum of the files' sizes. */
	readonly bytes: number;
}

/**
 * Stores every file of the walk and then the manifest, and reads all of it back. Throws CHECKPOINT_FAILED when the walk
 * contradicts itself or what was stored does not read back; DISK_FULL. Blobs of a failed attempt are left to gc;
 * `onBlob` names each one as soon as it is stored.
 */
export async function writeManifest(
	scope: BlobScope,
	head: Omit<CheckpointManifest, 'entries'>,
	walk: AsyncIterable<DataEntry>,
	options: Options & { readonly onBlob?: (sha256: string) => void },
): Promise<StoredManifest> {
	const entries: ManifestEntry[] = [];
	const before = await filesOf(scope, head.parent, options);
	for await (const entry of walk) {
		options.signal.throwIfAborted();
		const stored = await storeEntry(scope, entry, before.get(entry.path), options);
		if (stored.kind === 'file') options.onBlob?.(stored.sha256);
		entries.push(stored);
	}
	const problems = checkEntries(entries);
	if (problems.length > 0) {
		throw new MvmError('CHECKPOINT_FAILED', 'the data of the instance cannot be put into a manifest', {
			details: { problems: problems.slice(0, 20) },
		});
	}
	const manifest = { ...head, entries };
	const { sha256 } = await scope.blobs.put(scope.tenantId, once(encodeManifest(manifest)), options);
	options.onBlob?.(sha256);
	const fault = await findFault(scope, sha256, options);
	if (fault !== undefined)
		throw new MvmError('CHECKPOINT_FAILED', `the checkpoint does not read back: ${fault}`, {
			details: { manifest_sha256: sha256 },
		});
	return { sha256, manifest, bytes: bytesOf(manifest) };
}

/** Reads a manifest. Throws CHECKPOINT_CORRUPT when it is missing, damaged or not a manifest. */
export async function readManifest(scope: BlobScope, sha256: string, options: Options): Promise<CheckpointManifest> {
	const chunks: Uint8Array[] = [];
	let bytes = 0;
	try {
		for await (const chunk of scope.blobs.get(scope.tenantId, sha256, options)) {
			bytes += chunk.byteLength;
			if (bytes > MAX_MANIFEST_BYTES) throw corrupt(sha256, 'it is larger than a manifest can be');
			chunks.push(chunk);
		}
	} catch (error) {
		if (isMvmError(error, 'BLOB_NOT_FOUND')) throw corrupt(sha256, 'its manifest is missing', error);
		if (isMvmError(error, 'BLOB_CORRUPT')) throw corrupt(sha256, 'its manifest is damaged', error);
		throw error;
	}
	const decoded = decodeManifest(Buffer.concat(chunks).toString('utf8'));
	if (decoded.ok) return decoded.value;
	throw corrupt(sha256, `its manifest is not valid: ${decoded.problems[0]?.path} ${decoded.problems[0]?.message}`);
}

/** What is wrong with a stored manifest or its blobs, in words, or undefined when all of it is there and matches. */
export async function findFault(scope: BlobScope, sha256: string, options: Options): Promise<string | undefined> {
	let manifest: CheckpointManifest;
	try {
		manifest = await readManifest(scope, sha256, options);
	} catch (error) {
		if (isMvmError(error, 'CHECKPOINT_CORRUPT')) return error.message;
		throw error;
	}
	const paths = new Map<string, string>();
	for (const entry of manifest.entries) if (entry.kind === 'file') paths.set(entry.sha256, entry.path);
	const queue = paths.entries();
	let fault: string | undefined;
	const worker = async (): Promise<void> => {
		for (const [blob, path] of queue) {
			if (fault !== undefined) return;
			options.signal.throwIfAborted();
			if (await scope.blobs.verify(scope.tenantId, blob, options)) continue;
			fault = `the content of ${JSON.stringify(path)} is ${(await scope.blobs.has(scope.tenantId, blob)) ? 'damaged' : 'missing'}`;
		}
	};
	await Promise.all(Array.from({ length: PARALLEL }, worker));
	return fault;
}

/** The entries as the runtime restores them: folders before what is in them. A damaged blob ends it with BLOB_CORRUPT. */
export async function* restoreEntries(
	scope: BlobScope,
	manifest: CheckpointManifest,
	options: Options,
): AsyncGenerator<DataEntry> {
	for (const entry of manifest.entries.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
		const { path, mode, uid, gid, mtimeMs } = entry;
		const base = { path, mode, uid, gid, mtimeMs };
		switch (entry.kind) {
			case 'file':
				yield { ...base, kind: 'file', bytes: entry.bytes, content: scope.blobs.get(scope.tenantId, entry.sha256, options) };
				break;
			case 'dir':
				yield { ...base, kind: 'dir', bytes: 0 };
				break;
			case 'symlink':
				yield { ...base, kind: 'symlink', bytes: 0, linkText: entry.linkText };
				break;
			default:
				entry satisfies never;
		}
	}
}

/** Every blob that a stored manifest needs, itself included. Throws CHECKPOINT_CORRUPT. */
export async function blobsOf(scope: BlobScope, sha256: string, options: Options): Promise<readonly string[]> {
	const manifest = await readManifest(scope, sha256, options);
	return [sha256, ...manifest.entries.flatMap((entry) => (entry.kind === 'file' ? [entry.sha256] : []))];
}

async function storeEntry(
	scope: BlobScope,
	entry: DataEntry,
	like: string | undefined,
	options: Options,
): Promise<ManifestEntry> {
	const { path, mode, uid, gid } = entry;
	const base = { path, mode, uid, gid, mtimeMs: Math.floor(entry.mtimeMs) };
	switch (entry.kind) {
		case 'file': {
			const hint = like === undefined ? options : { ...options, like };
			const { sha256, bytes } = await scope.blobs.put(scope.tenantId, entry.content ?? once(''), hint);
			if (bytes !== entry.bytes)
				throw new MvmError('CHECKPOINT_FAILED', `${JSON.stringify(path)} changed while it was read`, {
					details: { path, announced: entry.bytes, read: bytes },
				});
			return { ...base, kind: 'file', sha256, bytes };
		}
		case 'dir':
			return { ...base, kind: 'dir' };
		case 'symlink':
			return { ...base, kind: 'symlink', linkText: entry.linkText ?? '' };
		default:
			return entry.kind satisfies never;
	}
}

/** Path → content of the manifest before; empty when there is none or it cannot be read (then all is written anew). */
async function filesOf(scope: BlobScope, sha256: string | null, options: Options): Promise<ReadonlyMap<string, string>> {
	if (sha256 === null) return new Map();
	try {
		const { entries } = await readManifest(scope, sha256, options);
		return new Map(entries.flatMap((entry) => (entry.kind === 'file' ? [[entry.path, entry.sha256] as const] : [])));
	} catch (error) {
		if (isMvmError(error, 'CHECKPOINT_CORRUPT')) return new Map();
		throw error;
	}
}

function bytesOf(manifest: CheckpointManifest): number {
	return manifest.entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.bytes : 0), 0);
}

async function* once(text: string): AsyncGenerator<Uint8Array> {
	yield Buffer.from(text, 'utf8');
}

function corrupt(sha256: string, why: string, cause?: unknown): MvmError {
	return new MvmError('CHECKPOINT_CORRUPT', why, { details: { manifest_sha256: sha256 }, cause });
}
