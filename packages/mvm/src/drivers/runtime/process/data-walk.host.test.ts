// What a guest can plant in /data with its own uid range, walked and restored as root.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { chown, lchown, link, lstat, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceData } from './data-restore.ts';
import { walkData } from './data-walk.ts';

const why = process.getuid?.() === 0 ? '' : 'needs root';
if (why !== '') process.stderr.write(`data-walk.host.test.ts: ${why}\n`);
const uidBase = 300_000;
const options = { uidBase, signal: AbortSignal.timeout(60_000) } as const;

describe.skipIf(why !== '')('a hostile /data', () => {
	let root: string;
	let data: string;
	beforeEach(async () => {
		root = await mkdtemp(join(tmpdir(), 'mvm-hostile-'));
		data = join(root, 'data');
		await mkdir(data);
		await chown(data, uidBase + 1000, uidBase);
	});
	afterEach(() => rm(root, { recursive: true, force: true }));
	const own = (name: string): Promise<void> => lchown(join(data, name), uidBase + 1000, uidBase + 1000);

	it('yields plain things with inner ids, and refuses the rest by name', async () => {
		await writeFile(join(data, 'plain'), 'text');
		await link(join(data, 'plain'), join(data, 'second-name'));
		await symlink('/etc/shadow', join(data, 'to-shadow'));
		await symlink('/proc/1/root', join(data, 'to-root'));
		execFileSync('mknod', [join(data, 'fifo'), 'p']);
		execFileSync('mknod', [join(data, 'zero'), 'c', '1', '5']);
		const server = createServer().listen(join(data, 'socket'));
		await new Promise((done) => server.once('listening', done));
		for (const name of ['plain', 'to-shadow', 'to-root', 'fifo', 'zero', 'socket']) await own(name);
		await writeFile(join(data, 'of-root'), 'not the instance');
		await writeFile(Buffer.concat([Buffer.from(join(data, '/')), Buffer.from([0xff, 0x66])]), 'x');
		const walk = walkData(data, options);
		const seen: unknown[] = [];
		for await (const { path, kind, uid, gid, linkText } of walk.entries) seen.push([path, kind, uid, gid, linkText]);
		server.close();
		expect(seen).toEqual([
			['plain', 'file', 1000, 1000, undefined],
			['second-name', 'file', 1000, 1000, undefined],
			['to-root', 'symlink', 1000, 1000, '/proc/1/root'],
			['to-shadow', 'symlink', 1000, 1000, '/etc/shadow'],
		]);
		expect(walk.refused().map(({ path, why }) => `${path}: ${why}`)).toEqual([
			'fifo: it is a FIFO',
			'of-root: it belongs to a user outside the instance',
			'socket: it is a socket',
			'zero: it is a device',
			'\u00fff: the name is not UTF-8',
		]);
	});

	it('comes back with the owners of the range it is restored into', async () => {
		await mkdir(join(data, 'dir'));
		await writeFile(join(data, 'dir/file'), 'x', { mode: 0o640 });
		await symlink('file', join(data, 'dir/link'));
		for (const name of ['dir', 'dir/file', 'dir/link']) await own(name);
		const folders = { data: join(root, 'other'), dataIncoming: join(root, 'other.incoming') };
		const target = { ...options, uidBase: 500_000, makeFolder: (path: string) => void mkdirSync(path) };
		await replaceData(folders, walkData(data, options).entries, target);
		for (const name of ['dir', 'dir/file', 'dir/link']) {
			const { uid, gid } = await lstat(join(folders.data, name));
			expect([name, uid, gid]).toEqual([name, 501_000, 501_000]);
		}
		expect((await lstat(join(folders.data, 'dir/file'))).mode & 0o7777).toBe(0o640);
		expect((await readdir(root)).sort()).toEqual(['data', 'other']);
	});

	it('that does not fit leaves the old one and says so', async () => {
		const small = join(root, 'small');
		await mkdir(small);
		execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
		try {
			const folders = { data: join(small, 'data'), dataIncoming: join(small, 'data.incoming') };
			await mkdir(folders.data);
			await writeFile(join(data, 'big'), Buffer.alloc(2 * 2 ** 20));
			await own('big');
			const restore = replaceData(folders, walkData(data, options).entries, { ...options, makeFolder: (p) => void mkdirSync(p) });
			await expect(restore).rejects.toMatchObject({ code: 'DISK_FULL' });
			expect(await readdir(small)).toEqual(['data']);
		} finally {
			execFileSync('umount', [small]);
		}
	});
});
