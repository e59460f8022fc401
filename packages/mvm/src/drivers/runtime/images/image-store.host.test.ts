// Real builds. A stand-in for npm plays the packages' scripts (good and hostile) without a network; the last test installs
// the real OpenClaw into a cache that later runs share.
import { execFileSync, spawnSync } from 'node:child_process';
import {
	chmodSync,
	existsSync,
	lstatSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageRecipe, isMvmError } from '@mvm/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../clock/system.ts';
import type { SandboxImage } from '../process/sandbox.ts';
import { sandboxArgv } from '../process/sandbox.ts';
import { makeImageStore } from './image-store.ts';

const hasBubblewrap = spawnSync('bwrap', ['--version']).status === 0;
const why = process.getuid?.() !== 0 ? 'needs root' : hasBubblewrap ? '' : 'needs bubblewrap';
if (why !== '') process.stderr.write(`image-store.host.test.ts: ${why}\n`);
const signal = AbortSignal.timeout(600_000);

/** Speaks as much npm as a build needs; what it does is told by the name of the package. */
const NPM = `
const fs = require('node:fs'), path = require('node:path');
if (process.argv[2] === 'config') { console.log(JSON.stringify({ registry: 'https://registry.invalid/', cafile: null, '//registry.invalid/:_authToken': 'never' })); process.exit(0); }
const wanted = JSON.parse(fs.readFileSync('package.json', 'utf8')).dependencies;
const packages = {};
const put = (file, text) => { fs.mkdirSync(path.dirname(file), { recursive: true }); fs.writeFileSync(file, text); };
for (const [name, version] of Object.entries(wanted)) {
  const at = 'node_modules/' + name;
  fs.mkdirSync(at, { recursive: true });
  packages[at] = { version: name.startsWith('node-') ? '24.99.0' : version, integrity: 'sha512-' + name };
  if (name.startsWith('node-')) { fs.mkdirSync(at + '/bin'); fs.copyFileSync(process.execPath, at + '/bin/node'); }
  put(at + '/index.js', 'x');
  fs.chmodSync(at + '/index.js', 0o6777);
  if (name === 'breaks') { console.error('npm error code EBROKEN'); console.error('npm error the script said no'); process.exit(7); }
  if (name === 'hangs') for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  if (name === 'pipes') require('node:child_process').execFileSync('/usr/bin/mkfifo', [at + '/fifo']);
  if (name === 'links') { fs.rmSync('package-lock.json', { force: true }); fs.symlinkSync('/etc/shadow', 'package-lock.json'); put('node_modules/.package-lock.json', JSON.stringify({ packages })); process.exit(0); }
  if (name === 'pries') {
    const tried = (label, run) => { try { run(); return label + ' OPEN'; } catch (e) { return label + ' ' + e.code; } };
    put(at + '/report', [
      'uid ' + process.getuid(), 'env ' + Object.keys(process.env).filter((k) => /token|secret|mvm_/i.test(k)).join(),
      tried('usr', () => fs.writeFileSync('/usr/x', '')), tried('etc', () => fs.writeFileSync('/etc/x', '')),
      tried('root', () => fs.readdirSync('/root')), tried('shadow', () => fs.readFileSync('/etc/shadow')),
      tried('store', () => fs.readdirSync(process.env.STORE || '/var/lib/mvm')), tried('build', () => fs.renameSync('/build/npm', '/build/other')),
      'processes ' + fs.readdirSync('/proc').filter((n) => /^\\d+$/.test(n)).length,
    ].join('\\n'));
  }
}
put('node_modules/.package-lock.json', JSON.stringify({ packages }));
if (!fs.existsSync('package-lock.json')) put('package-lock.json', JSON.stringify({ lockfileVersion: 3, packages }));
console.log('added ' + Object.keys(wanted).length + ' packages');
`;

describe.skipIf(why !== '')('the image store', () => {
	let root: string;
	beforeEach(() => {
		root = mkdtempSync(join(tmpdir(), 'mvm-images-'));
		chmodSync(root, 0o711);
		for (const folder of ['data', 'npm/bin', 'path', 'recipe/app'])
			mkdirSync(join(root, folder), { recursive: true, mode: 0o755 });
		writeFileSync(join(root, 'npm/bin/npm-cli.js'), `#!${process.execPath}\n${NPM}`, { mode: 0o755 });
		symlinkSync(join(root, 'npm/bin/npm-cli.js'), join(root, 'path/npm'));
		writeFileSync(join(root, 'recipe/app/hello'), '#!/bin/sh\necho hello from $(id -u)\n', { mode: 0o755 });
	});
	afterEach(() => rmSync(root, { recursive: true, force: true }));

	const inUse: string[] = [];
	const open = (more: object = {}) =>
		makeImageStore({
			dataDir: join(root, 'data'),
			clock: systemClock,
			env: { PATH: join(root, 'path'), API_TOKEN: 'x' },
			inUse: () => inUse,
			graceMs: 0,
			...more,
		});
	const dir = (name = 'app'): ImageRecipe => ImageRecipe.parse({ name, kind: 'dir', dir: 'app', base_dir: join(root, 'recipe') });
	const npm = (...packages: string[]): ImageRecipe => ImageRecipe.parse({ name: 'app', kind: 'npm', node: '24', packages });
	const left = (): string[] => readdirSync(join(root, 'data/images/tmp'));
	const failure = async (run: Promise<unknown>) => {
		const error = await run.catch((e: unknown) => e);
		if (!isMvmError(error)) throw error;
		return error;
	};

	it('builds once, and says that it was there the second time', async () => {
		const lines: string[] = [];
		const first = await open().installImage(dir(), { signal, onProgress: (line) => lines.push(line) });
		const second = await open().installImage(dir(), { signal });
		expect(first.reused).toBe(false);
		expect(second).toEqual({ ...first, reused: true });
		expect(lines.at(-1)).toMatch(/^image app [0-9a-f]{12}: \d+ MiB, built in/);
		expect((await open().listImages({ signal })).map(({ hash }) => hash)).toEqual([first.hash]);
		expect(runIn(await open().resolve(first.hash), ['/opt/app/hello'])).toBe('hello from 1000');
	});

	it('builds one recipe once when several ask at the same time', async () => {
		const lines: string[] = [];
		const all = await Promise.all(
			[1, 2, 3, 4].map(() => open().installImage(npm('good@1.0.0'), { signal, onProgress: (line) => lines.push(line) })),
		);
		expect(new Set(all.map(({ hash }) => hash)).size).toBe(1);
		expect(all.filter(({ reused }) => !reused)).toHaveLength(1);
		expect(lines.filter((line) => line.includes('added'))).toHaveLength(2); // Node and the package
	});

	it('keeps what was installed readable for all, writable for nobody, without rights', async () => {
		const { hash, lock } = await open().installImage(npm('good@1.0.0'), { signal });
		expect(lock.packages['good']).toEqual({ version: '1.0.0', integrity: 'sha512-good' });
		const { uid, gid, mode } = lstatSync(join(root, 'data/images/revisions', hash, 'rootfs/opt/npm/node_modules/good/index.js'));
		expect([uid, gid, mode & 0o7777]).toEqual([0, 0, 0o755]);
		const [name] = readdirSync(join(root, 'data/images/node'));
		expect(readdirSync(join(root, 'data/images/node', name ?? '')).sort()).toEqual(['bin', 'node.json']);
		expect(runIn(await open().resolve(hash), ['node', '-p', 'process.execPath'])).toBe('/opt/node/bin/node');
	});

	it('makes the same revision again after it was removed', async () => {
		const store = open();
		const { hash } = await store.installImage(npm('good@1.0.0'), { signal });
		expect(await store.gcImages([], { signal })).toEqual([hash]);
		expect(readdirSync(join(root, 'data/images/node'))).toEqual([]);
		await expect(store.resolve(hash)).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
		const again = await store.installImage(npm('good@1.0.0'), { signal });
		expect(again).toMatchObject({ hash, reused: false });
	});

	it('removes neither what is kept, nor what an instance uses, nor what was just asked for', async () => {
		const store = open();
		const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((name) => store.installImage(dir(name), { signal })));
		const hashes = [a, b, c].map((revision) => revision?.hash ?? '');
		inUse.push(hashes[1] ?? '');
		expect(await open({ graceMs: 60_000 }).gcImages([], { signal })).toEqual([]);
		expect(await store.gcImages([hashes[0] ?? ''], { signal })).toEqual([hashes[2]]);
		inUse.pop();
		expect(await store.gcImages([], { signal })).toEqual([hashes[0], hashes[1]].sort());
		expect(left()).toEqual([]);
	});

	it('clears away what a killed build left, and not what a living one has', async () => {
		const store = open();
		await store.installImage(dir(), { signal });
		mkdirSync(join(root, 'data/images/tmp', 'f'.repeat(64)));
		await store.gcImages([], { signal });
		expect(left()).toEqual([]);
	});

	it('leaves nothing of a failed install and tells its last lines', async () => {
		const error = await failure(open().installImage(npm('breaks@1.0.0'), { signal }));
		expect(error).toMatchObject({ code: 'IMAGE_BUILD_FAILED', message: 'npm install breaks@1.0.0 failed: the script said no' });
		expect(error.details['last_lines']).toEqual(['npm error code EBROKEN', 'npm error the script said no']);
		expect([left(), readdirSync(join(root, 'data/images/revisions'))]).toEqual([[], []]);
	});

	it('says that the disk is full, and leaves nothing', async () => {
		execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=711', 'tmpfs', join(root, 'data')]);
		try {
			writeFileSync(join(root, 'recipe/app/big'), Buffer.alloc(3 * 2 ** 20));
			expect((await failure(open().installImage(dir(), { signal }))).code).toBe('DISK_FULL');
			expect([left(), readdirSync(join(root, 'data/images/revisions'))]).toEqual([[], []]);
		} finally {
			execFileSync('umount', [join(root, 'data')]);
		}
	});

	it('ends an install that hangs, when its time is up or its caller leaves', async () => {
		await open().installImage(npm('good@1.0.0'), { signal }); // Node is there, so that only the package counts
		const late = await failure(open({ timeLimitMs: 700 }).installImage(npm('hangs@1.0.0'), { signal }));
		expect(late.message).toContain('the time for it is up');
		await expect(open().installImage(npm('hangs@1.0.0'), { signal: AbortSignal.timeout(700) })).rejects.toThrow();
		expect(left()).toEqual([]);
		expect(spawnSync('pgrep', ['--runstates', 'R,S,D,T', '--uid', '199999']).stdout.toString()).toBe('');
	});

	it('refuses an install that leaves a FIFO, or a link where its record should be', async () => {
		expect((await failure(open().installImage(npm('pipes@1.0.0'), { signal }))).message).toContain('no file');
		expect((await failure(open().installImage(npm('links@1.0.0'), { signal }))).message).toContain('no record');
		expect(readdirSync(join(root, 'data/images/locks')).filter((name) => name.endsWith('package-lock.json'))).toEqual([]);
	});

	it('gives install scripts nothing of the host but /usr and one folder', async () => {
		const { hash } = await open().installImage(npm('pries@1.0.0'), { signal });
		const report = readFileSync(join(root, 'data/images/revisions', hash, 'rootfs/opt/npm/node_modules/pries/report'), 'utf8');
		const lines = report.split('\n');
		expect(lines.filter((line) => line.endsWith('OPEN'))).toEqual([]);
		expect(lines.slice(0, 2)).toEqual(['uid 1000', 'env ']);
		expect(Number(lines.at(-1)?.split(' ')[1])).toBeLessThan(5);
	});

	it('says of kinds that are to come that they are', async () => {
		const error = await failure(open().installImage(ImageRecipe.parse({ name: 'x', kind: 'debian' }), { signal }));
		expect(error.code).toBe('UNSUPPORTED');
	});

	it('installs the real OpenClaw and runs it in a sandbox as a user of an instance', { timeout: 600_000 }, async () => {
		const dataDir = '/var/tmp/mvm-test-images';
		mkdirSync(dataDir, { recursive: true });
		chmodSync(dataDir, 0o711);
		const store = makeImageStore({ dataDir, clock: systemClock, env: process.env, inUse: () => [] });
		const started = performance.now();
		const recipe = ImageRecipe.parse({ name: 'openclaw', kind: 'npm', node: '24', packages: ['openclaw@2026.9.6'] });
		const revision = await store.installImage(recipe, { signal });
		process.stderr.write(
			`openclaw image: ${Math.round(revision.bytes / 2 ** 20)} MiB, ${Object.keys(revision.lock.packages).length} packages, ${revision.reused ? 'reused' : 'built'} in ${((performance.now() - started) / 1000).toFixed(1)} s\n`,
		);
		expect(runIn(await store.resolve(revision.hash), ['openclaw', '--version'])).toContain('2026.9.6');
	});

	/** Runs a command on the image the way the driver does, as uid 1000 of the range at 200000, and returns what it prints. */
	function runIn(image: SandboxImage, command: string[]): string {
		const uid = '201000';
		const folders = Object.fromEntries(
			['guest', 'linkDir', 'secrets', 'config', 'scratch'].map((name) => [name, join(root, name)]),
		);
		for (const folder of Object.values(folders)) if (!existsSync(folder)) mkdirSync(folder, { mode: 0o777 });
		chmodSync(folders['scratch'] ?? '', 0o777);
		const [, ...argv] = sandboxArgv({
			hostname: 'test',
			image,
			guestDir: folders['guest'] ?? '',
			dataDir: folders['scratch'] ?? '',
			linkDir: folders['linkDir'] ?? '',
			secretsDir: folders['secrets'] ?? '',
			configDir: folders['config'] ?? '',
			users: 'single',
			tmpBytes: 2 ** 26,
			command,
		});
		const plain = argv.filter(
			(arg, at) =>
				!['--json-status-fd', '--seccomp'].includes(arg) && !['--json-status-fd', '--seccomp'].includes(argv[at - 1] ?? ''),
		);
		const setpriv = [
			'--reuid',
			uid,
			'--regid',
			uid,
			'--clear-groups',
			'--inh-caps=-all',
			'--bounding-set=-all',
			'--no-new-privs',
		];
		return execFileSync('setpriv', [...setpriv, 'bwrap', ...plain], { env: { PATH: '/usr/bin:/bin' }, encoding: 'utf8' }).trim();
	}
});
