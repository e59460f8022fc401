// Makes the image's /etc: the few files programs look for, with the instance's users, and nothing of the host's own but
// public certificates and names of services. Called by the store at the end of a build.
import { copyFile, mkdir, readdir, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Users of the instance as in docs/architecture.md, "Who runs as whom". */
const EXECUTORS = 64;
const FIRST_EXECUTOR_UID = 2001;
const executors = Array.from({ length: EXECUTORS }, (_, n): [string, number] => [`executor${n}`, FIRST_EXECUTOR_UID + n]);

const FILES: Readonly<Record<string, string>> = {
	passwd: lines([
		'root:x:0:0:supervisor:/:/usr/sbin/nologin',
		'agent:x:1000:1000:agent:/data:/bin/sh',
		...executors.map(([name, id]) => `${name}:x:${id}:${id}:executor:/tmp:/bin/sh`),
		'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
	]),
	group: lines(['root:x:0:', 'agent:x:1000:', ...executors.map(([name, id]) => `${name}:x:${id}:`), 'nogroup:x:65534:']),
	hosts: lines(['127.0.0.1 localhost', '::1 localhost ip6-localhost ip6-loopback']),
	hostname: lines(['instance']),
	// No resolver: the instance has no network, and its endpoints are loopback ports.
	'resolv.conf': '',
	'nsswitch.conf': lines(['passwd: files', 'group: files', 'hosts: files', 'services: files', 'protocols: files']),
};

/** Public files of the host that programs expect; copied (never as links) when they are there. */
const COPIED = ['os-release', 'services', 'protocols', 'mime.types', 'ssl/certs/ca-certificates.crt', 'ssl/openssl.cnf'];

/** Writes `/etc` into `rootfs`; a file that the recipe has put there already stays. */
export async function makeEtc(rootfs: string, hostRoot = '/'): Promise<void> {
	const etc = join(rootfs, 'etc');
	// mvm-config is a mount point; integrations.d is where an image brings drop-ins for the guest agent.
	for (const folder of ['ssl/certs', 'mvm-config', 'mvm/integrations.d', 'alternatives'])
		await mkdir(join(etc, folder), { recursive: true, mode: 0o755 });
	for (const [name, text] of Object.entries(FILES))
		await absentOnly(writeFile(join(etc, name), text, { flag: 'wx', mode: 0o644 }));
	for (const name of COPIED) {
		const source = join(hostRoot, 'etc', name);
		await absentOnly(copyFile(source, join(etc, name), 1), ['ENOENT']);
	}
	await copyAlternatives(join(hostRoot, 'etc/alternatives'), join(etc, 'alternatives'));
}

/** awk, nc, vi and their like are links in /usr/bin to links in here; without these they would dangle. */
async function copyAlternatives(from: string, to: string): Promise<void> {
	for (const name of await readdir(from).catch(() => [])) {
		const text = await readlink(join(from, name)).catch(() => '');
		if (text.startsWith('/usr/') && !text.startsWith('/usr/local/') && !text.includes('/man/'))
			await absentOnly(symlink(text, join(to, name)));
	}
}

async function absentOnly(write: Promise<unknown>, also: readonly string[] = []): Promise<void> {
	try {
		await write;
	} catch (error) {
		if (!['EEXIST', ...also].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
	}
}

function lines(all: readonly string[]): string {
	return `${all.join('\n')}\n`;
}
