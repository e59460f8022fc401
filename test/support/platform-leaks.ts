// What of one test platform is still on this host: processes, mounts, control groups, loop devices, swap, uid claims. Found by its
// folder, which no other platform shares. Names everything; `sweep` then ends it, so that one failure does not spoil the next test.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

const CLAIMS = '/run/mvm-uids';

/** One sentence for each thing that is still there. */
export function findLeaks(root: string): string[] {
	return [
		...processesOf(root).map(({ pid, what }) => `process ${pid}: ${what}`),
		...mountsOf(root).map((mount) => `mount ${mount}`),
		...cgroupsOf(root).map((path) => `cgroup ${path}`),
		...loopsOf(root).map((device) => `loop device ${device}`),
		...swapsOf(root).map((file) => `swap ${file}`),
		...claimsOf(root).map((file) => `uid claim ${file}`),
	];
}

/** Ends and removes what `findLeaks` names. */
export function sweep(root: string): void {
	for (const { pid } of processesOf(root)) {
		try {
			process.kill(pid, 'SIGKILL');
		} catch {
			// Gone meanwhile.
		}
	}
	for (const mount of mountsOf(root).reverse()) spawnSync('umount', ['--lazy', mount]);
	for (const file of swapsOf(root)) spawnSync('swapoff', [file]);
	for (const device of loopsOf(root)) spawnSync('losetup', ['--detach', device]);
	for (const path of cgroupsOf(root)) {
		try {
			rmdirSync(path);
		} catch {
			// Not empty yet: the next test names it again.
		}
	}
	for (const file of claimsOf(root)) unlinkSync(file);
}

/** Processes that name the folder in arguments, environment, program or working folder, and those of its control groups. */
export function processesOf(root: string): { pid: number; what: string }[] {
	const inGroups = new Set(cgroupsOf(root).flatMap((path) => pidsOf(path)));
	return readdirSync('/proc')
		.map(Number)
		.filter((pid) => Number.isInteger(pid) && pid !== process.pid)
		.flatMap((pid) => {
			const texts = [
				read(`/proc/${pid}/cmdline`),
				read(`/proc/${pid}/environ`),
				link(`/proc/${pid}/exe`),
				link(`/proc/${pid}/cwd`),
			];
			const isOurs = inGroups.has(pid) || texts.some((text) => text.includes(root));
			// A zombie holds nothing and waits for a parent that is not ours.
			if (!isOurs || /^State:\s+[ZX]/m.test(read(`/proc/${pid}/status`))) return [];
			return [{ pid, what: texts[0]?.replaceAll('\0', ' ').slice(0, 160) ?? '' }];
		});
}

/** The control groups of the hostd that serves `<root>/data`, innermost first. */
export function cgroupsOf(root: string): string[] {
	const data = join(root, 'data');
	const name = `mvm-${createHash('sha256')
		.update(existsSync(data) ? realpathSync(data) : data)
		.digest('hex')
		.slice(0, 8)}`;
	const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
		.split('\n')
		.filter((line) => / - cgroup2? /.test(line))
		.map((line) => line.split(' ')[4] ?? '');
	return mounts
		.map((mount) => join(mount, name))
		.filter((path) => existsSync(path))
		.flatMap((path) => [
			...readdirSync(path, { withFileTypes: true })
				.filter((entry) => entry.isDirectory())
				.map((entry) => join(path, entry.name)),
			path,
		]);
}

function pidsOf(cgroup: string): number[] {
	return read(join(cgroup, 'cgroup.procs')).split('\n').filter(Boolean).map(Number);
}

function mountsOf(root: string): string[] {
	return readFileSync('/proc/self/mountinfo', 'utf8')
		.split('\n')
		.map((line) => line.split(' ')[4] ?? '')
		.filter((mount) => mount.startsWith(`${root}/`));
}

function loopsOf(root: string): string[] {
	return readdirSync('/sys/block')
		.filter((name) => name.startsWith('loop') && read(`/sys/block/${name}/loop/backing_file`).includes(root))
		.map((name) => `/dev/${name}`);
}

function swapsOf(root: string): string[] {
	return read('/proc/swaps')
		.split('\n')
		.map((line) => line.split(/\s+/)[0] ?? '')
		.filter((path) => path.startsWith(`${root}/`));
}

function claimsOf(root: string): string[] {
	if (!existsSync(CLAIMS)) return [];
	return readdirSync(CLAIMS)
		.map((name) => join(CLAIMS, name))
		.filter((file) => read(file).startsWith(`${root}/`));
}

function read(path: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return '';
	}
}

function link(path: string): string {
	try {
		return readlinkSync(path);
	} catch {
		return '';
	}
}
