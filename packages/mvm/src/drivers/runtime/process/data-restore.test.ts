import { mkdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMvmError } from '@mvm/protocol';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DataEntry } from '../../../ports/runtime.ts';
import { REPLACE_STEPS, recoverReplacedData, replaceData, restoreData } from './data-restore.ts';
import { walkData } from './data-walk.ts';

let root: string;
const options = { uidBase: undefined, signal: AbortSignal.timeout(60_000) } as const;
const folders = () => ({ data: join(root, 'data'), dataIncoming: join(root, 'data.incoming') });
const makeFolder = (path: string): void => void mkdirSync(path);

beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), 'mvm-data-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const entry = (path: string, more: Partial<DataEntry> = {}): DataEntry => ({
	path,
	kind: 'file',
	mode: 0o644,
	uid: 1000,
	gid: 1000,
	mtimeMs: 1_700_000_000_000,
	bytes: 0,
	...more,
});
async function* stream(...entries: DataEntry[]): AsyncGenerator<DataEntry> {
	yield* entries;
}
async function* bytes(text: string): AsyncGenerator<Uint8Array> {
	yield Buffer.from(text);
}
const file = (path: string, text: string): DataEntry => entry(path, { bytes: Buffer.byteLength(text), content: bytes(text) });

async function listing(path: string): Promise<unknown[]> {
	const seen: unknown[] = [];
	for await (const { content, ...facts } of walkData(path, options).entries) {
		const parts: Uint8Array[] = [];
		for await (const part of content ?? []) parts.push(part);
		seen.push({ ...facts, text: Buffer.concat(parts).toString() });
	}
	return seen;
}

it('a walk comes in byte order, folders first, and comes back the same after a restore', async () => {
	const { data } = folders();
	await mkdir(join(data, 'b/deep'), { recursive: true });
	await mkdir(join(data, 'lost+found'));
	await writeFile(join(data, 'b/deep/z.txt'), 'zz', { mode: 0o600 });
	await writeFile(join(data, 'B'), '');
	await writeFile(join(data, 'ä'), 'umlaut');
	await symlink('../etc/passwd', join(data, 'a-link'));
	await utimes(join(data, 'b/deep'), 1000, 1000);
	const before = await listing(data);
	expect(before.map((e) => (e as DataEntry).path)).toEqual(['B', 'a-link', 'b', 'b/deep', 'b/deep/z.txt', 'ä']);
	const result = await replaceData(folders(), walkData(data, options).entries, { ...options, makeFolder });
	expect(result).toEqual({ entries: 6, bytes: 8 });
	expect(await listing(data)).toEqual(before);
	expect(await readlink(join(data, 'a-link'))).toBe('../etc/passwd');
	expect(await readdir(root)).toEqual(['data']);
});

it('stops at a tree that is too deep, too wide or too large', async () => {
	await mkdir(join(root, 'a/b/c'), { recursive: true });
	await writeFile(join(root, 'a/file'), 'x'.repeat(100));
	for (const limits of [{ depth: 2 }, { entries: 3 }, { bytes: 99 }]) {
		const walk = walkData(root, { ...options, limits });
		const drain = async (): Promise<void> => {
			for await (const _ of walk.entries);
		};
		const error = await drain().catch((e: unknown) => e);
		expect(isMvmError(error, 'CHECKPOINT_FAILED')).toBe(true);
	}
});

it('says so when a file changes while it is read', async () => {
	await writeFile(join(root, 'log'), 'x'.repeat(1000));
	const reading = (async () => {
		for await (const { content } of walkData(root, options).entries) {
			await writeFile(join(root, 'log'), 'short');
			for await (const _ of content ?? []);
		}
	})();
	await expect(reading).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
});

describe('a restore', () => {
	const places = ['/abs', 'a/../b', '../up', '.', 'a//b', '', 'x\0y', 'no-parent/file', `${'n'.repeat(256)}`];
	it.each(places)('refuses the path %j', async (path) => {
		const error = await restoreData(root, stream(file(path, 'x')), options).catch((e: unknown) => e);
		expect(isMvmError(error, 'CHECKPOINT_CORRUPT')).toBe(true);
		expect(await readdir(root)).toEqual([]);
	});

	it('never writes through a link of its own', async () => {
		const entries = stream(entry('link', { kind: 'symlink', linkText: '/etc' }), file('link/passwd', 'x'));
		await expect(restoreData(root, entries, options)).rejects.toMatchObject({ code: 'CHECKPOINT_CORRUPT' });
	});

	it('refuses a path twice, and content of another length than announced', async () => {
		await expect(restoreData(root, stream(file('a', '1'), file('a', '2')), options)).rejects.toThrow('twice');
		for (const announced of [1, 3])
			await expect(
				restoreData(root, stream(entry(`b${announced}`, { bytes: announced, content: bytes('22') })), options),
			).rejects.toThrow('announced');
	});

	it('drops set-user-id bits', async () => {
		await restoreData(root, stream(entry('tool', { mode: 0o6755 })), options);
		expect((await stat(join(root, 'tool'))).mode & 0o7777).toBe(0o755);
	});

	it('stays inside for any path at all', async () => {
		await fc.assert(
			fc.asyncProperty(fc.string({ unit: fc.constantFrom('.', '/', 'a', '\\', '\0', ' ') }), async (path) => {
				const at = join(root, 'jail');
				await mkdir(at);
				await restoreData(at, stream(file(path, 'x')), options).catch(() => {});
				const around = await readdir(root);
				await rm(at, { recursive: true });
				expect(around).toEqual(['jail']);
			}),
			{ numRuns: 60 },
		);
	});
});

describe('replacing /data', () => {
	const old = 'the old';
	const fresh = 'the new';
	beforeEach(async () => {
		await mkdir(folders().data);
		await writeFile(join(folders().data, 'state'), old);
	});
	const state = (): Promise<string> => readFile(join(folders().data, 'state'), 'utf8');

	it.each(REPLACE_STEPS)('is whole after a crash at step %s', async (crashAt) => {
		const entries = stream(entry('dir', { kind: 'dir' }), file('dir/more', 'm'), file('state', fresh));
		const onStep = (step: string): void => {
			if (step === crashAt) throw new Error('power failed');
		};
		await expect(replaceData(folders(), entries, { ...options, makeFolder, onStep })).rejects.toThrow('power failed');
		const verdict = await recoverReplacedData(folders());
		const isNew = ['install', 'erase'].includes(crashAt);
		expect(await state()).toBe(isNew ? fresh : old);
		if (isNew) expect(verdict).toBe('finished-new');
		expect(await readdir(root)).toEqual(['data']);
		expect(await recoverReplacedData(folders())).toBe('nothing');
	});

	it('leaves the old when the entries are bad', async () => {
		await expect(replaceData(folders(), stream(file('../x', 'y')), { ...options, makeFolder })).rejects.toThrow();
		expect(await state()).toBe(old);
		expect(await readdir(root)).toEqual(['data']);
	});

	it('drops a half-written restore of a killed process', async () => {
		await mkdir(folders().dataIncoming);
		expect(await recoverReplacedData(folders())).toBe('kept-old');
		expect(await state()).toBe(old);
	});
});
