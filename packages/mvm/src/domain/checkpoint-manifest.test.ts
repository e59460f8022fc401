// Canonical encoding, and everything that a manifest must not be.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
	type CheckpointManifest,
	checkEntries,
	decodeManifest,
	encodeManifest,
	type ManifestEntry,
} from './checkpoint-manifest.ts';

const hash = 'ab'.repeat(32);
const base = { mode: 0o755, uid: 1000, gid: 1000, mtimeMs: 1_700_000_000_000 };
const manifest: CheckpointManifest = {
	parent: null,
	image: 'cafe',
	incarnation: 3,
	schemaVersions: { openclaw: '2026.9.6', agent: '1' },
	createdAtMs: 1_790_000_000_000,
	entries: [
		{ ...base, kind: 'dir', path: 'a' },
		{ ...base, kind: 'file', path: 'a/ä b', sha256: hash, bytes: 5, mode: 0o600 },
		{ ...base, kind: 'symlink', path: 'a/link', linkText: '/etc/passwd' },
	],
};

test('the encoding is written down: its hash is the name of every checkpoint', () => {
	expect(encodeManifest(manifest)).toBe(
		`{"version":1,"parent":null,"image":"cafe","incarnation":3,"schema_versions":{"agent":"1","openclaw":"2026.9.6"},` +
			`"created_at":"2026-09-21T14:13:20.000Z","entries":[` +
			`{"path":"a","kind":"dir","mode":493,"uid":1000,"gid":1000,"mtime_ms":1700000000000},` +
			`{"path":"a/link","kind":"symlink","link_text":"/etc/passwd","mode":493,"uid":1000,"gid":1000,"mtime_ms":1700000000000},` +
			`{"path":"a/ä b","kind":"file","sha256":"${hash}","bytes":5,"mode":384,"uid":1000,"gid":1000,"mtime_ms":1700000000000}]}`,
	);
});

test('order of entries and keys does not matter', () => {
	const { openclaw, agent } = manifest.schemaVersions;
	const shuffled = {
		...manifest,
		entries: manifest.entries.toReversed(),
		schemaVersions: { agent: agent ?? '', openclaw: openclaw ?? '' },
	};
	expect(encodeManifest(shuffled)).toBe(encodeManifest(manifest));
});

test('what is encoded is decoded, and encodes the same again', () => {
	const name = fc
		.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
		.filter((s) => !/[/\0]/.test(s) && s !== '.' && s !== '..');
	const tree = fc.uniqueArray(name, { maxLength: 6 }).chain((folders) =>
		fc
			.array(fc.record({ at: fc.constantFrom('', ...folders), name, kind: fc.constantFrom('file', 'symlink') }), { maxLength: 8 })
			.map((leaves) => {
				const entries = new Map<string, ManifestEntry>(folders.map((path) => [path, { ...base, kind: 'dir', path }]));
				for (const leaf of leaves) {
					const path = leaf.at === '' ? leaf.name : `${leaf.at}/${leaf.name}`;
					if (entries.has(path)) continue;
					entries.set(
						path,
						leaf.kind === 'file'
							? { ...base, kind: 'file', path, sha256: hash, bytes: 1 }
							: { ...base, kind: 'symlink', path, linkText: 'x' },
					);
				}
				return [...entries.values()];
			}),
	);
	fc.assert(
		fc.property(tree, fc.nat(), (entries, incarnation) => {
			const text = encodeManifest({ ...manifest, entries, incarnation });
			const decoded = decodeManifest(text);
			expect(decoded).toMatchObject({ ok: true });
			expect(checkEntries(entries)).toEqual([]);
			if (decoded.ok) expect(encodeManifest(decoded.value)).toBe(text);
		}),
	);
});

describe('refused', () => {
	const wire = (): { entries: Record<string, unknown>[]; [key: string]: unknown } => JSON.parse(encodeManifest(manifest));
	const problemsOf = (value: unknown): string[] => {
		const result = decodeManifest(JSON.stringify(value));
		return result.ok ? [] : result.problems.map((p) => `${p.path} ${p.message}`);
	};
	test.each([
		['/etc/passwd', 'relative'],
		['', 'relative'],
		['../x', '..'],
		['a/../x', '..'],
		['a//x', 'empty'],
		['./x', '.'],
		['a/', 'empty'],
		['a\0b', 'NUL'],
		['\ud800', 'UTF-8'],
		['x'.repeat(256), '255'],
		[Array.from({ length: 50 }, () => 'x'.repeat(100)).join('/'), '4096'],
		[7, 'text'],
	])('path %j', (path, words) => {
		const value = wire();
		value.entries.push({ ...value.entries[0], path });
		expect(problemsOf(value).join()).toContain(words);
	});
	test('a folder that is missing, a link or a file, and a path that is there twice', () => {
		const value = wire();
		const [dir, link, file] = value.entries;
		value.entries.push(
			{ ...file, path: 'b/x' },
			{ ...file, path: 'a/link/x' },
			{ ...file, path: 'a/ä b/x' },
			{ ...dir, path: 'a' },
			{ ...link },
		);
		expect(problemsOf(value)).toEqual([
			'entries[6].path is there twice',
			'entries[7].path is there twice',
			'entries[3].path its folder is not a directory entry',
			'entries[4].path its folder is not a directory entry',
			'entries[5].path its folder is not a directory entry',
		]);
	});
	test.each([
		['kind', 'device'],
		['mode', 0o10000],
		['mode', -1],
		['uid', 65_536],
		['gid', 1.5],
		['mtime_ms', 'now'],
		['sha256', 'AB'.repeat(32)],
		['bytes', -1],
	])('%s = %j', (key, wrong) => {
		const value = wire();
		Object.assign(value.entries[2] ?? {}, { [key]: wrong });
		expect(problemsOf(value).join()).toContain(`entries[2].${key}`);
	});
	test('every problem of the head at once', () => {
		const value = {
			...wire(),
			version: 2,
			parent: 'x',
			image: 1,
			incarnation: -1,
			schema_versions: { a: 1 },
			created_at: 'soon',
			entries: {},
		};
		expect(problemsOf(value).map((p) => p.split(' ')[0])).toEqual([
			'version',
			'parent',
			'image',
			'incarnation',
			'schema_versions',
			'created_at',
			'entries',
		]);
	});
	test('what is no manifest at all', () => {
		expect(decodeManifest('{')).toEqual({ ok: false, problems: [{ path: '', message: 'is not JSON' }] });
		expect(decodeManifest('[]')).toEqual({ ok: false, problems: [{ path: '', message: 'is not an object' }] });
	});
	test('thousands of wrong entries give a hundred problems', () => {
		const value = { ...wire(), entries: Array.from({ length: 5000 }, () => null) };
		expect(problemsOf(value)).toHaveLength(100);
	});
	test('entries that are about to be written are checked the same way', () => {
		expect(checkEntries([{ ...base, kind: 'file', path: 'x/../y', sha256: hash, bytes: 1 }]).length).toBeGreaterThan(0);
	});
});
