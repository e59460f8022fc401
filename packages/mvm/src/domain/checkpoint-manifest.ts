// The manifest of a checkpoint: everything that `/data` held, with the hash of every byte. Written from a frozen tree, verified
// whole before anything runs on it. Here are its form, its one canonical encoding (whose hash is its name) and its validation;
// bytes and blobs are the caller's. Decoding trusts nothing: a manifest may come from another host or a damaged disk.

export const MANIFEST_VERSION = 1;
/** Upper bounds; what is over is refused, not cut. */
export const MANIFEST_LIMITS = {
	entries: 1_000_000,
	pathBytes: 4096,
	segmentBytes: 255,
	linkBytes: 4095,
	innerId: 65_535,
} as const;

interface EntryBase {
	/** Relative to `/data`, `/`-separated. Its folder is an entry of its own, of kind `dir`. */
	readonly path: string;
	/** Permission bits, 0 to 0o7777. */
	readonly mode: number;
	/** Ids as seen inside the instance. */
	readonly uid: number;
	readonly gid: number;
	readonly mtimeMs: number;
}
export type ManifestEntry =
	| (EntryBase & { readonly kind: 'file'; readonly sha256: string; readonly bytes: number })
	| (EntryBase & { readonly kind: 'dir' })
	/** The link's text, never followed by the host. */
	| (EntryBase & { readonly kind: 'symlink'; readonly linkText: string });

export interface CheckpointManifest {
	/** Hash of the manifest that this one follows; null for the first. */
	readonly parent: string | null;
	/** Content hash of the image that ran. */
	readonly image: string;
	readonly incarnation: number;
	/** What wrote which form of state, by name, for example `openclaw` → `2026.9.6`. */
	readonly schemaVersions: Readonly<Record<string, string>>;
	readonly createdAtMs: number;
	readonly entries: readonly ManifestEntry[];
}

export interface ManifestProblem {
	/** Where: `entries[3].path`. */
	readonly path: string;
	readonly message: string;
}
export type DecodedManifest =
	| { readonly ok: true; readonly value: CheckpointManifest }
	| { readonly ok: false; readonly problems: readonly ManifestProblem[] };

const byPath = (a: { readonly path: string }, b: { readonly path: string }): number =>
	a.path < b.path ? -1 : a.path > b.path ? 1 : 0;

/** The canonical text: keys in one order, entries by path, no spaces. Equal manifests are equal texts, so equal hashes. */
export function encodeManifest(manifest: CheckpointManifest): string {
	const { schemaVersions } = manifest;
	return JSON.stringify({
		version: MANIFEST_VERSION,
		parent: manifest.parent,
		image: manifest.image,
		incarnation: manifest.incarnation,
		schema_versions: Object.fromEntries(
			Object.keys(schemaVersions)
				.toSorted()
				.map((name) => [name, schemaVersions[name]]),
		),
		created_at: new Date(manifest.createdAtMs).toISOString(),
		entries: manifest.entries.toSorted(byPath).map((entry) => ({
			path: entry.path,
			kind: entry.kind,
			...(entry.kind === 'file' ? { sha256: entry.sha256, bytes: entry.bytes } : {}),
			...(entry.kind === 'symlink' ? { link_text: entry.linkText } : {}),
			mode: entry.mode,
			uid: entry.uid,
			gid: entry.gid,
			mtime_ms: Math.floor(entry.mtimeMs),
		})),
	});
}

const PROBLEMS_SHOWN = 100;
class Problems {
	readonly list: ManifestProblem[] = [];
	add(path: string, message: string): undefined {
		if (this.list.length < PROBLEMS_SHOWN) this.list.push({ path, message });
		return undefined;
	}
}
const isRecord = (value: unknown): value is Record<string, unknown> =>
	typeof value === 'object' && value !== null && !Array.isArray(value);
const isWhole = (value: unknown, max = Number.MAX_SAFE_INTEGER): value is number =>
	typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max;
const isHash = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);

/** Reads and checks a manifest; all problems at once, the first hundred. Unknown keys are dropped. */
export function decodeManifest(text: string): DecodedManifest {
	const problems = new Problems();
	let raw: unknown;
	try {
		raw = JSON.parse(text);
	} catch {
		return { ok: false, problems: [{ path: '', message: 'is not JSON' }] };
	}
	if (!isRecord(raw)) return { ok: false, problems: [{ path: '', message: 'is not an object' }] };
	if (raw['version'] !== MANIFEST_VERSION) problems.add('version', `must be ${MANIFEST_VERSION}`);
	const { parent, image, incarnation, schema_versions: versions, created_at: created, entries } = raw;
	if (parent !== null && !isHash(parent)) problems.add('parent', 'must be a SHA-256 in hex, or null');
	if (typeof image !== 'string' || image === '') problems.add('image', 'must be the hash of an image');
	if (!isWhole(incarnation)) problems.add('incarnation', 'must be a whole number');
	if (!isRecord(versions) || Object.values(versions).some((v) => typeof v !== 'string'))
		problems.add('schema_versions', 'must map names to texts');
	const createdAtMs = typeof created === 'string' ? Date.parse(created) : Number.NaN;
	if (!Number.isFinite(createdAtMs)) problems.add('created_at', 'must be a time in RFC 3339');
	const read = Array.isArray(entries) ? readEntries(entries, problems) : problems.add('entries', 'must be a list');
	if (problems.list.length > 0 || read === undefined) return { ok: false, problems: problems.list };
	return {
		ok: true,
		value: {
			parent: parent as string | null,
			image: image as string,
			incarnation: incarnation as number,
			schemaVersions: versions as Record<string, string>,
			createdAtMs,
			entries: read,
		},
	};
}

/** The problems of entries that are about to become a manifest; the same rules as for one that is read. */
export function checkEntries(entries: readonly ManifestEntry[]): readonly ManifestProblem[] {
	const problems = new Problems();
	checkTree(entries, problems);
	for (const [at, entry] of entries.entries()) {
		const path = checkPath(entry.path);
		if (path !== undefined) problems.add(`entries[${at}].path`, path);
	}
	return problems.list;
}

function readEntries(raw: readonly unknown[], problems: Problems): ManifestEntry[] | undefined {
	if (raw.length > MANIFEST_LIMITS.entries) return problems.add('entries', `more than ${MANIFEST_LIMITS.entries}`);
	const entries = raw.map((entry, at) => readEntry(entry, `entries[${at}]`, problems));
	if (entries.some((entry) => entry === undefined)) return undefined;
	const read = entries as ManifestEntry[];
	checkTree(read, problems);
	return read;
}

function readEntry(raw: unknown, at: string, problems: Problems): ManifestEntry | undefined {
	if (!isRecord(raw)) return problems.add(at, 'must be an object');
	const { path, kind, sha256, bytes, link_text: linkText, mode, uid, gid, mtime_ms: mtimeMs } = raw;
	const wrong = typeof path === 'string' ? checkPath(path) : 'must be a text';
	if (wrong !== undefined) return problems.add(`${at}.path`, wrong);
	if (!isWhole(mode, 0o7777)) return problems.add(`${at}.mode`, 'must be permission bits');
	if (!isWhole(uid, MANIFEST_LIMITS.innerId)) return problems.add(`${at}.uid`, 'must be an id inside the instance');
	if (!isWhole(gid, MANIFEST_LIMITS.innerId)) return problems.add(`${at}.gid`, 'must be an id inside the instance');
	if (!Number.isSafeInteger(mtimeMs)) return problems.add(`${at}.mtime_ms`, 'must be whole milliseconds');
	const base = { path: path as string, mode, uid, gid, mtimeMs: mtimeMs as number };
	switch (kind) {
		case 'file':
			if (!isHash(sha256)) return problems.add(`${at}.sha256`, 'must be a SHA-256 in hex');
			if (!isWhole(bytes)) return problems.add(`${at}.bytes`, 'must be a whole number');
			return { ...base, kind, sha256, bytes };
		case 'dir':
			return { ...base, kind };
		case 'symlink':
			if (
				typeof linkText !== 'string' ||
				linkText === '' ||
				linkText.includes('\0') ||
				utf8Bytes(linkText) > MANIFEST_LIMITS.linkBytes
			)
				return problems.add(`${at}.link_text`, `must be 1 to ${MANIFEST_LIMITS.linkBytes} bytes without NUL`);
			return { ...base, kind, linkText };
		default:
			return problems.add(`${at}.kind`, 'must be file, dir or symlink');
	}
}

/** No path twice, and every parent is there as a directory: nothing is ever created through a link. */
function checkTree(entries: readonly ManifestEntry[], problems: Problems): void {
	const kinds = new Map<string, ManifestEntry['kind']>();
	for (const [at, { path, kind }] of entries.entries()) {
		if (kinds.has(path)) problems.add(`entries[${at}].path`, 'is there twice');
		kinds.set(path, kind);
	}
	for (const [at, { path }] of entries.entries()) {
		const slash = path.lastIndexOf('/');
		if (slash > 0 && kinds.get(path.slice(0, slash)) !== 'dir')
			problems.add(`entries[${at}].path`, 'its folder is not a directory entry');
	}
}

/** What is wrong with a path, or nothing. */
function checkPath(path: string): string | undefined {
	if (path === '' || path.startsWith('/')) return 'must be relative and not empty';
	if (/\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(path)) return 'must be UTF-8 without NUL';
	if (utf8Bytes(path) > MANIFEST_LIMITS.pathBytes) return `must be at most ${MANIFEST_LIMITS.pathBytes} bytes`;
	for (const segment of path.split('/')) {
		if (segment === '' || segment === '.' || segment === '..') return 'must have no empty, . or .. segment';
		if (utf8Bytes(segment) > MANIFEST_LIMITS.segmentBytes)
			return `must have segments of at most ${MANIFEST_LIMITS.segmentBytes} bytes`;
	}
	return undefined;
}

function utf8Bytes(text: string): number {
	let bytes = 0;
	for (const point of text) {
		const code = point.codePointAt(0) ?? 0;
		bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	}
	return bytes;
}
