// Writes a checkpoint's entries into a fresh folder and swaps it in for `/data`. Called by the process driver while nothing
// of the instance lives. Whole or not at all: a crash at any step leaves the old data or the new, never a mixture.
//
//   write <incoming> ──sync──▶ data → <outgoing> ──▶ <incoming> → data ──▶ remove <outgoing>
//   recovery:  no outgoing: drop incoming.   outgoing and no data: finish the second rename.   both: drop outgoing.
import { constants, existsSync } from 'node:fs';
import { lchown, lutimes, mkdir, open, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MvmError } from '@mvm/protocol';
import type { DataEntry } from '../../../ports/runtime.ts';
import { DATA_LIMITS, type DataLimits, KEPT_MODE } from './data-walk.ts';
import { runTool } from './run-tool.ts';

export interface RestoreOptions {
	/** First host id of the instance's range; undefined when all of it is the caller's own user. */
	readonly uidBase: number | undefined;
	readonly signal: AbortSignal;
	readonly limits?: Partial<DataLimits>;
}

/** The folder to replace and where the new one is assembled: siblings on one file system. */
export interface DataFolders {
	readonly data: string;
	readonly dataIncoming: string;
}

export interface RestoreResult {
	readonly entries: number;
	readonly bytes: number;
}

/** Where a crash may fall; tests inject one at each. */
export const REPLACE_STEPS = ['prepare', 'write', 'sync', 'retire', 'install', 'erase'] as const;
export type ReplaceStep = (typeof REPLACE_STEPS)[number];

const MAX_NAME_BYTES = 255;
const MAX_PATH_BYTES = 4000;

/**
 * Replaces `/data` by the entries. `makeFolder` makes the empty new root with its owner and mode. Rejects with
 * CHECKPOINT_CORRUPT for entries that do not form a tree, DISK_FULL when it does not fit; `/data` is then as before.
 */
export async function replaceData(
	folders: DataFolders,
	entries: AsyncIterable<DataEntry>,
	options: RestoreOptions & {
		readonly makeFolder: (path: string) => void;
		readonly onStep?: (step: ReplaceStep) => void;
	},
): Promise<RestoreResult> {
	const { data, dataIncoming } = folders;
	const step = options.onStep ?? (() => {});
	step('prepare');
	await recoverReplacedData(folders);
	options.makeFolder(dataIncoming);
	let result: RestoreResult;
	try {
		step('write');
		result = await restoreData(dataIncoming, entries, options);
		step('sync');
		await runTool(['sync', '--file-system', dataIncoming], options);
	} catch (error) {
		await rm(dataIncoming, { recursive: true, force: true });
		throw (error as NodeJS.ErrnoException).code === 'ENOSPC' ? full(error) : error;
	}
	step('retire');
	if (existsSync(data)) await rename(data, outgoingOf(folders));
	await syncFolder(dirname(data));
	step('install');
	await rename(dataIncoming, data);
	await syncFolder(dirname(data));
	step('erase');
	await rm(outgoingOf(folders), { recursive: true, force: true });
	return result;
}

/** Brings a replacement that was cut off to one end or the other. Call before `/data` is looked at; does nothing when all is well. */
export async function recoverReplacedData(folders: DataFolders): Promise<'nothing' | 'kept-old' | 'finished-new'> {
	const { data, dataIncoming } = folders;
	const outgoing = outgoingOf(folders);
	// The old data is retired only after the new was complete on disk, so outgoing without data means: go on.
	const isFinishing = existsSync(outgoing) && !existsSync(data) && existsSync(dataIncoming);
	if (isFinishing) {
		await rename(dataIncoming, data);
		await syncFolder(dirname(data));
	} else if (existsSync(outgoing) && !existsSync(data)) {
		await rename(outgoing, data);
		await syncFolder(dirname(data));
		return 'kept-old';
	}
	const isDirty = existsSync(dataIncoming) || existsSync(outgoing);
	const verdict = isFinishing || existsSync(outgoing) ? 'finished-new' : 'kept-old';
	await rm(dataIncoming, { recursive: true, force: true });
	await rm(outgoing, { recursive: true, force: true });
	return isDirty || isFinishing ? verdict : 'nothing';
}

/** Writes the entries below the empty folder `root`, which only the caller can reach. Folders get their mode and time last. */
export async function restoreData(
	root: string,
	entries: AsyncIterable<DataEntry>,
	options: RestoreOptions,
): Promise<RestoreResult> {
	const limits = { ...DATA_LIMITS, ...options.limits };
	const kinds = new Map<string, DataEntry['kind']>();
	const folders: DataEntry[] = [];
	let bytes = 0;
	for await (const entry of entries) {
		options.signal.throwIfAborted();
		assertPlace(entry, kinds);
		kinds.set(entry.path, entry.kind);
		bytes += entry.bytes;
		if (kinds.size > limits.entries || bytes > limits.bytes) throw corrupt('it is larger than the limits allow', entry.path);
		const at = join(root, entry.path);
		if (entry.kind === 'dir') {
			await mkdir(at, { mode: 0o700 });
			folders.push(entry);
		} else if (entry.kind === 'symlink') {
			if (entry.linkText === undefined || entry.linkText === '' || entry.linkText.includes('\0'))
				throw corrupt('a link without a text', entry.path);
			await symlink(entry.linkText, at);
			if (options.uidBase !== undefined) await lchown(at, options.uidBase + entry.uid, options.uidBase + entry.gid);
			await lutimes(at, entry.mtimeMs / 1000, entry.mtimeMs / 1000);
		} else await writeFileEntry(at, entry, options);
	}
	for (const entry of folders.reverse()) {
		await using handle = await open(join(root, entry.path), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
		await finish(handle, entry, options);
	}
	return { entries: kinds.size, bytes };
}

async function writeFileEntry(at: string, entry: DataEntry, options: RestoreOptions): Promise<void> {
	const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
	await using handle = await open(at, flags, 0o600);
	let written = 0;
	for await (const chunk of entry.content ?? []) {
		options.signal.throwIfAborted();
		written += chunk.byteLength;
		if (written > entry.bytes) break;
		await handle.writeFile(chunk);
	}
	if (written !== entry.bytes) throw corrupt(`${written} bytes came where ${entry.bytes} were announced`, entry.path);
	await finish(handle, entry, options);
}

/** Owner first: changing it clears mode bits. */
async function finish(handle: Awaited<ReturnType<typeof open>>, entry: DataEntry, options: RestoreOptions): Promise<void> {
	if (options.uidBase !== undefined) await handle.chown(options.uidBase + entry.uid, options.uidBase + entry.gid);
	await handle.chmod(entry.mode & KEPT_MODE);
	await handle.utimes(entry.mtimeMs / 1000, entry.mtimeMs / 1000);
}

/** A relative path in normal form whose parent folder was written by this restore. */
function assertPlace(entry: DataEntry, kinds: ReadonlyMap<string, DataEntry['kind']>): void {
	const { path } = entry;
	const names = path.split('/');
	if (path.includes('\0') || names.some((name) => name === '' || name === '.' || name === '..'))
		throw corrupt('a path that is not relative and plain', path);
	if (Buffer.byteLength(path) > MAX_PATH_BYTES || names.some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES))
		throw corrupt('a path that is too long', path.slice(0, 200));
	if (kinds.has(path)) throw corrupt('a path that occurs twice', path);
	if (names.length > 1 && kinds.get(names.slice(0, -1).join('/')) !== 'dir') throw corrupt('a path without its folder', path);
	for (const id of [entry.uid, entry.gid])
		if (!Number.isInteger(id) || id < 0 || id > 65_535) throw corrupt('an owner outside the instance', path);
}

const outgoingOf = (folders: DataFolders): string => `${folders.data}.outgoing`;

async function syncFolder(path: string): Promise<void> {
	await using handle = await open(path, 'r');
	await handle.sync();
}

function corrupt(why: string, path: string): MvmError {
	return new MvmError('CHECKPOINT_CORRUPT', `the data to restore is not usable: ${why}`, { details: { path } });
}

function full(cause: unknown): MvmError {
	return new MvmError('DISK_FULL', 'the restored data does not fit beside the present one', {
		hint: 'raise data_disk_mib of the pool',
		cause,
	});
}
