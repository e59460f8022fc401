// From inside an instance, as its workload: every way out that we know of is tried, and leads nowhere. What it plants in /data and
// elsewhere does nothing on the host. The driver's own walls (uids, seccomp, mounts) have further tests beside it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestPlatform } from '../support/platform.ts';
import { type Probe, startProbe } from '../support/platform-probe.ts';

let platform: TestPlatform;
let inside: Probe;
let neighbour: Probe;
let tcp: Server;
let abstract: Server;
const ABSTRACT = `mvm-test-${process.pid}`;
const MARK = `host-secret-${process.pid}`;

beforeAll(async () => {
	platform = await TestPlatform.start({ config: 'swap = { size_mib = 0 }' });
	writeFileSync(join(platform.folders.root, 'marker'), MARK, { mode: 0o666 });
	[inside, neighbour] = await Promise.all([
		startProbe(platform, { tenant: 'inside' }),
		startProbe(platform, { tenant: 'neighbour' }),
	]);
	await neighbour.run(`require('fs').writeFileSync('/data/private', ${JSON.stringify(MARK)})`);
	tcp = await listening((server, done) => server.listen(0, '127.0.0.1', done));
	abstract = await listening((server, done) => server.listen(`\0${ABSTRACT}`, done));
});
afterAll(async () => {
	tcp?.close();
	abstract?.close();
	await platform?.stop();
});

async function listening(listen: (server: Server, done: () => void) => void): Promise<Server> {
	const server = createServer((socket) => socket.destroy());
	await new Promise<void>((resolve) => listen(server, resolve));
	return server;
}

test('it sees its own files and nothing of the host but the read-only base', async () => {
	const { root, data, run } = platform.folders;
	const found = await inside.run<{ readable: string[]; writable: string[]; tops: string[]; dev: string[]; local: string[] }>(`
		const fs = require('fs');
		const readable = ${JSON.stringify([
			join(root, 'marker'),
			root,
			data,
			run,
			'/etc/shadow',
			'/etc/gshadow',
			'/etc/ssh',
			'/root',
			'/home',
			'/var',
			'/boot',
			'/sys',
			'/mnt',
			'/proc/1/root/etc',
			'/proc/1/environ',
			'/proc/1/mem',
			'/proc/1/fd',
			'/proc/kcore',
			'/proc/sys/kernel/core_pattern.x',
			'/dev/mem',
			'/dev/sda',
			'/dev/vda',
			'/dev/loop0',
			'/dev/loop-control',
			'/dev/kmsg',
			'/dev/fuse',
			'/dev/kvm',
		])}.filter((path) => { try { fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.closeSync(fs.openSync(path, 'r')); return true; } catch { return false; } });
		const writable = ['/', '/usr', '/usr/bin', '/opt', '/opt/app', '/opt/mvm', '/etc', '/etc/mvm-config', '/run', '/run/mvm', '/run/mvm/link', '/run/secrets', '/run/secrets/mine', '/proc/sys/kernel', '/dev']
			.filter((path) => { try { fs.writeFileSync(path + '/planted', 'x'); return true; } catch { return false; } });
		return { readable, writable, tops: fs.readdirSync('/'), dev: fs.readdirSync('/dev'), local: fs.readdirSync('/usr/local') };
	`);
	expect(found.readable).toEqual([]);
	expect(found.writable.filter((path) => path !== '/dev')).toEqual([]);
	expect(found.tops.toSorted()).toEqual(
		expect.arrayContaining(['bin', 'data', 'dev', 'etc', 'lib', 'opt', 'proc', 'run', 'tmp', 'usr']),
	);
	expect(found.tops).not.toContain('home');
	expect(found.local).toEqual([]);
	for (const device of found.dev)
		expect([
			'console',
			'core',
			'fd',
			'full',
			'mqueue',
			'null',
			'ptmx',
			'pts',
			'random',
			'shm',
			'stderr',
			'stdin',
			'stdout',
			'tty',
			'urandom',
			'zero',
			'planted',
		]).toContain(device);
});

test('it reaches no address: not the host, not its edge, not the link-local or the public network', async () => {
	const { port } = tcp.address() as { port: number };
	const edge = Number(new URL(platform.edge).port);
	const found = await inside.run<{ open: string[]; interfaces: string[]; routes: number }>(`
		const net = require('net'), os = require('os'), fs = require('fs'), dgram = require('dgram');
		const tries = [['127.0.0.1', ${port}], ['127.0.0.1', ${edge}], ['::1', ${edge}], ['169.254.169.254', 80], ['10.0.0.1', 80], ['192.168.0.1', 80], ['172.17.0.1', 22], ['1.1.1.1', 53], ['8.8.8.8', 443], ['2606:4700:4700::1111', 443]];
		const open = [];
		await Promise.all(tries.map(([host, port]) => new Promise((done) => {
			const socket = net.connect({ host, port, timeout: 2000 });
			socket.on('connect', () => { open.push(host + ':' + port); socket.destroy(); }).on('timeout', () => socket.destroy()).on('error', () => {}).on('close', done);
		})));
		await new Promise((done) => { const s = dgram.createSocket('udp4'); s.on('error', () => { s.close(); done(); }); s.send('x', 53, '8.8.8.8', (error) => { if (!error) open.push('udp 8.8.8.8'); s.close(done); }); });
		return { open, interfaces: Object.keys(os.networkInterfaces()), routes: fs.readFileSync('/proc/net/route', 'utf8').trim().split('\\n').length - 1 };
	`);
	expect(found).toEqual({ open: [], interfaces: ['lo'], routes: 0 });
});

test('it reaches no socket: abstract, admin, hostd, database, other instances, nor its own link', async () => {
	const { run } = platform.folders;
	const paths = [
		...['admin/mvm.sock', 'admin/hostd.sock', 'pg/.s.PGSQL.5432'].map((path) => join(run, path)),
		...Array.from({ length: 12 }, (_, slot) => join(run, `i/${slot}/link/to-guest.sock`)),
		'/run/mvm/link/to-guest.sock',
		'/run/mvm/link/to-host.sock',
		'/run/systemd/private',
		'/run/dbus/system_bus_socket',
		'/var/run/docker.sock',
		'/dev/log',
	];
	const found = await inside.run<{ open: string[]; api: boolean }>(`
		const net = require('net');
		const open = [];
		const attempt = (path) => new Promise((done) => { let ok = false; net.connect(path).on('connect', function () { ok = true; this.destroy(); }).on('error', () => {}).on('close', () => done(ok)); });
		for (const path of ${JSON.stringify(paths)}) if (await attempt(path)) open.push(path);
		if (await attempt('\\0${ABSTRACT}')) open.push('abstract');
		const seen = require('fs').readFileSync('/proc/net/unix', 'utf8');
		if (seen.includes('${ABSTRACT}') || seen.includes('mvm-hostd')) open.push('abstract names are visible');
		return { open, api: await attempt('/run/mvm/api.sock') };
	`);
	expect(found).toEqual({ open: [], api: true });
});

test('it has no capability, sees only its own processes and can touch none but its own', async () => {
	const found = await inside.run<{ status: Record<string, string>; uid: number; pids: string[]; done: string[] }>(`
		const fs = require('fs'), { spawnSync } = require('child_process');
		const status = Object.fromEntries(fs.readFileSync('/proc/self/status', 'utf8').split('\\n').map((line) => line.split(':\\t')).filter(([k]) => ['CapPrm', 'CapEff', 'CapAmb', 'NoNewPrivs', 'Seccomp'].includes(k)));
		const pids = fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).map((pid) => fs.readFileSync('/proc/' + pid + '/cmdline', 'utf8').split('\\0').join(' '));
		const done = [];
		const attempt = (what, argv) => { const { status } = spawnSync(argv[0], argv.slice(1), { timeout: 5000 }); if (status === 0) done.push(what); };
		attempt('mount', ['mount', '-t', 'tmpfs', 'x', '/tmp']);
		attempt('bind', ['mount', '--bind', '/usr', '/tmp']);
		attempt('umount', ['umount', '/proc']);
		attempt('unshare', ['unshare', '--user', '--map-root-user', 'true']);
		attempt('unshare net', ['unshare', '--net', 'true']);
		attempt('nsenter', ['nsenter', '--target', '1', '--mount', 'true']);
		attempt('chroot', ['chroot', '/tmp', '/bin/true']);
		attempt('mknod', ['mknod', '/tmp/disk', 'b', '7', '0']);
		attempt('su', ['setpriv', '--reuid', '0', 'true']);
		attempt('other uid', ['setpriv', '--reuid', '2001', '--clear-groups', 'true']);
		attempt('clock', ['date', '--set', '2001-01-01']);
		attempt('hostname', ['hostname', 'mine']);
		attempt('ptrace', ['python3', '-c', 'import ctypes,sys; c=ctypes.CDLL(None,use_errno=True); sys.exit(0 if c.ptrace(16, 1, 0, 0) == 0 else 1)']);
		attempt('read memory', ['dd', 'if=/proc/1/mem', 'of=/dev/null', 'count=1']);
		try { process.kill(1, 'SIGTERM'); done.push('kill 1'); } catch {}
		try { process.setuid(0); done.push('setuid'); } catch {}
		return { status, uid: process.getuid(), pids, done };
	`);
	const none = '0000000000000000';
	// What it may inherit or be bounded by is of no use with no_new_privs: nothing it executes can gain anything.
	expect(found.status).toEqual({ CapPrm: none, CapEff: none, CapAmb: none, NoNewPrivs: '1', Seccomp: '2' });
	expect(found.uid).toBe(1000);
	expect(found.done).toEqual([]);
	expect(found.pids.filter((command) => !/agent\.cjs|main\.cjs|bwrap|^$/.test(command))).toEqual([]);
	expect(found.pids.length).toBeLessThan(6);
});

test('it holds the secrets of its scope and no others, and none of its neighbour', async () => {
	const found = await inside.run<{ listed: boolean; files: string[]; value: string; elsewhere: string }>(`
		const fs = require('fs');
		let listed = true;
		try { fs.readdirSync('/run/secrets'); } catch { listed = false; }
		const files = ['mine/IN_SCOPE', 'mine/OUT_OF_SCOPE', 'other/OUT_OF_SCOPE', 'OUT_OF_SCOPE', 'IN_SCOPE'].filter((name) => fs.existsSync('/run/secrets/' + name));
		const value = fs.readFileSync('/run/secrets/mine/IN_SCOPE', 'utf8');
		const elsewhere = JSON.stringify(process.env) + fs.readFileSync('/etc/mvm-config/config.json', 'utf8');
		return { listed, files, value, elsewhere };
	`);
	expect(found.listed).toBe(false);
	expect(found.files).toEqual(['mine/IN_SCOPE']);
	expect(found.value).toBe('inside-inside');
	expect(found.elsewhere).not.toMatch(/inside-inside|outside-inside|token/);
	const searched = await inside.run<string>(`
		const { spawnSync } = require('child_process');
		return spawnSync('grep', ['-rslE', 'outside-inside|neighbour|${MARK}', '/run', '/data', '/tmp', '/etc', '/opt/app', '/proc/self/environ'], { encoding: 'utf8' }).stdout;
	`);
	expect(searched).toBe('');
});

test('what it plants in /data and elsewhere is named or harmless, and the instance lives on', async () => {
	await inside.run(`
		const fs = require('fs'), net = require('net'), { spawnSync } = require('child_process');
		fs.mkdirSync('/data/plants', { recursive: true });
		process.chdir('/data/plants');
		fs.symlinkSync('/etc/shadow', 'shadow');
		fs.symlinkSync('../../../../../../../../etc/shadow', 'climbing');
		fs.symlinkSync('/', 'root');
		fs.symlinkSync('/proc/self/root', 'magic');
		fs.symlinkSync(${JSON.stringify(join(platform.folders.root, 'marker'))}, 'marker');
		fs.writeFileSync('plain', 'mine');
		fs.linkSync('plain', 'hard');
		spawnSync('mkfifo', ['fifo']);
		spawnSync('mknod', ['device', 'c', '1', '3']);
		await new Promise((done) => net.createServer().listen('socket', done));
		fs.writeFileSync(Buffer.from([0x66, 0xff, 0xfe]), 'not text');
		fs.mkdirSync('/data/deep'); let at = '/data/deep'; for (let n = 0; n < 60; n += 1) { at += '/d'; fs.mkdirSync(at); }
		for (const place of ['/tmp/mvm.sock', '/run/mvm/to-guest.sock', '/data/hostd.sock']) await new Promise((done) => net.createServer().listen(place, done).on('error', done));
	`);
	const from = platform.events.length;
	await platform.client.call('instance.sleep', { params: { instance: inside.instance }, body: {} });
	const left = await platform.event(
		'what was left out',
		(e) => e.kind === 'checkpoint.left_out' && e.instanceId === inside.instance,
		{ from },
	);
	const refused = (left.detail['refused'] as { path: string; why: string }[]).map(({ path }) => path);
	expect(refused).toEqual(expect.arrayContaining(['plants/fifo', 'plants/socket', 'hostd.sock']));
	const { items } = await platform.client.call('checkpoint.list', { params: { instance: inside.instance } });
	expect(items.length).toBeGreaterThan(0);
	// No byte of the host came in through a link.
	const shadow = readFileSync('/etc/shadow', 'utf8');
	const blobs = join(platform.folders.data, 'blobs');
	const stored = readdirSync(blobs, { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile())
		.map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'));
	expect(stored.some((text) => text.includes('mine'))).toBe(true);
	expect(stored.filter((text) => text.includes(shadow.slice(0, 40)) || text === MARK)).toEqual([]);
	expect(await inside.run('return require("fs").readlinkSync("/data/plants/shadow")')).toBe('/etc/shadow');
});
