// Walks an instance's quiet `/data` and yields its entries in a fixed order. Called by the process driver under the
// instance's lock, with the tree frozen or gone. Everything below the root was made by a guest: nothing is opened by a
// path that could pass a link, and whatever is not a plain file, folder or link is refused by name and left alone.
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink } from 'node:fs/promises';
import { MvmError } from '@mvm/protocol';
import type { DataEntry, RefusedEntry } from '../../../ports/runtime.ts';

export interface WalkOptions {
	/** First host id of the instance's range; undefined when all of it is the caller's own user. */
	readonly uidBase: number | undefined;
	readonly signal: AbortSignal;
	readonly limits?: Partial<DataLimits>;
}

/** Bounds against a guest that builds a tree to be expensive. */
export interface DataLimits {
	readonly depth: number;
	readonly entries: number;
	/** Sum of the files' sizes as read, so that holes count. */
	readonly bytes: number;
}

export const DATA_LIMITS: DataLimits = { depth: 100, entries: 1_000_000, bytes: 256 * 2 ** 30 };
/** Ids in one instance's range. */
const ID_COUNT = 65_536;
/** Whom everything belongs to inside when there is no range. */
const SINGLE_ID = 1000;
/** No set-user-id or set-group-id: nothing that is restored may carry a right. */
export const KEPT_MODE = 0o1777;
const CHUNK_BYTES = 256 * 1024;
/** How many refused entries are listed by name. */
const MAX_REFUSED = 1000;

export interface DataWalk {
	readonly entries: AsyncIterable<DataEntry>;
	/** What was left out so far; complete when the entries are. */
	refused(): readonly RefusedEntry[];
}

/** Folders come before what is in them, names in byte order. Rejects with CHECKPOINT_FAILED when something moved or a limit was passed. */
export function walkData(root: string, options: WalkOptions): DataWalk {
	const refused: RefusedEntry[] = [];
	const walk = new Walk({ ...DATA_LIMITS, ...options.limits }, options, refused);
	return { entries: walk.entries(root), refused: () => refused };
}

class Walk {
	readonly #limits: DataLimits;
	readonly #options: WalkOptions;
	readonly #refused: RefusedEntry[];
	#entries = 0;
	#bytes = 0;

	constructor(limits: DataLimits, options: WalkOptions, refused: RefusedEntry[]) {
		this.#limits = limits;
		this.#options = options;
		this.#refused = refused;
	}

	async *entries(root: string): AsyncGenerator<DataEntry> {
		const handle = await openFolder(root);
		try {
			yield* this.#folder(handle, '', 1);
		} finally {
			await handle.close();
		}
	}

	/** `folder` pins the directory: children are reached through its descriptor, so no part of the way can be swapped. */
	async *#folder(folder: FileHandle, prefix: string, depth: number): AsyncGenerator<DataEntry> {
		if (depth > this.#limits.depth) throw over('folders deeper than', this.#limits.depth, prefix);
		const through = `/proc/self/fd/${folder.fd}`;
		const names = await readdir(through, { encoding: 'buffer' });
		for (const raw of names.sort(Buffer.compare)) {
			this.#options.signal.throwIfAborted();
			const name = raw.toString('utf8');
			const path = `${prefix}${name}`;
			if (!Buffer.from(name, 'utf8').equals(raw)) {
				this.#refuse(`${prefix}${raw.toString('latin1')}`, 'the name is not UTF-8');
				continue;
			}
			if (path === 'lost+found') continue;
			this.#entries += 1;
			if (this.#entries > this.#limits.entries) throw over('more entries than', this.#limits.entries, path);
			yield* this.#entry(`${through}/${name}`, path, depth);
		}
	}

	async *#entry(at: string, path: string, depth: number): AsyncGenerator<DataEntry> {
		const facts = await lstat(at);
		const owner = this.#owner(facts);
		if (owner === undefined) {
			this.#refuse(path, 'it belongs to a user outside the instance');
			return;
		}
		const common = { path, mode: facts.mode & KEPT_MODE, ...owner, mtimeMs: Math.floor(facts.mtimeMs) };
		if (facts.isSymbolicLink()) {
			const raw = await readlink(at, { encoding: 'buffer' });
			const linkText = raw.toString('utf8');
			if (!Buffer.from(linkText, 'utf8').equals(raw)) this.#refuse(path, 'the text of the link is not UTF-8');
			else yield { ...common, kind: 'symlink', bytes: 0, linkText };
		} else if (facts.isDirectory()) {
			const handle = await openFolder(at);
			try {
				if (!sameFile(facts, await handle.stat())) throw moved(path);
				yield { ...common, kind: 'dir', bytes: 0 };
				yield* this.#folder(handle, `${path}/`, depth + 1);
			} finally {
				await handle.close();
			}
		} else if (facts.isFile()) yield* this.#file(at, facts, common);
		else this.#refuse(path, `it is a ${kindOf(facts)}`);
	}

	async *#file(at: string, facts: Stats, common: Omit<DataEntry, 'kind' | 'bytes'>): AsyncGenerator<DataEntry> {
		this.#bytes += facts.size;
		if (this.#bytes > this.#limits.bytes) throw over('more bytes than', this.#limits.bytes, common.path);
		// O_NONBLOCK: should it have become a FIFO since, opening it must not wait for a writer.
		const handle = await open(at, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
		try {
			const opened = await handle.stat();
			if (!opened.isFile() || !sameFile(facts, opened)) throw moved(common.path);
			yield { ...common, kind: 'file', bytes: facts.size, content: content(handle, facts, common.path, this.#options.signal) };
		} finally {
			// A consumer that did not read the content has skipped it; the handle is ours in either case.
			await handle.close();
		}
	}

	#owner(facts: Stats): { uid: number; gid: number } | undefined {
		const base = this.#options.uidBase;
		if (base === undefined) return { uid: SINGLE_ID, gid: SINGLE_ID };
		const uid = facts.uid - base;
		const gid = facts.gid - base;
		const inside = (id: number): boolean => id >= 0 && id < ID_COUNT;
		return inside(uid) && inside(gid) ? { uid, gid } : undefined;
	}

	#refuse(path: string, why: string): void {
		if (this.#refused.length < MAX_REFUSED) this.#refused.push({ path, why });
		else if (this.#refused.length === MAX_REFUSED) this.#refused.push({ path: '…', why: 'further entries are not listed' });
	}
}

/** Exactly the bytes the entry announced, or CHECKPOINT_FAILED. */
async function* content(handle: FileHandle, facts: Stats, path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
	let left = facts.size;
	while (left > 0) {
		signal.throwIfAborted();
		const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(CHUNK_BYTES, left)), 0, null, facts.size - left);
		if (bytesRead === 0) throw moved(path);
		left -= bytesRead;
		yield buffer.subarray(0, bytesRead);
	}
	const after = await handle.stat();
	if (!sameFile(facts, after)) throw moved(path);
}

const openFolder = (path: string): Promise<FileHandle> =>
	open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);

function sameFile(a: Stats, b: Stats): boolean {
	return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs;
}

function kindOf(facts: Stats): string {
	if (facts.isFIFO()) return 'FIFO';
	if (facts.isSocket()) return 'socket';
	return facts.isBlockDevice() || facts.isCharacterDevice() ? 'device' : 'kind of file that mvm does not know';
}

function moved(path: string): MvmError {
	return new MvmError('CHECKPOINT_FAILED', 'a file changed while it was read, although nothing should run', {
		details: { path },
	});
}

function over(what: string, limit: number, path: string): MvmError {
	return new MvmError('CHECKPOINT_FAILED', `/data has ${what} ${limit}`, { details: { limit, path } });
}
