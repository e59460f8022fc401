// Says whether what is written to a path reaches the disk encrypted. Called by swap.ts for the condition
// MemoryAtRestUnencrypted. Reads /sys only; what it cannot tell counts as not encrypted.
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** Device stacks are shallow (file system on LVM on LUKS on a partition); a bound against loops. */
const MAX_DEPTH = 8;

/** True when every way from the file or block device at `path` to the disk passes dm-crypt, or never leaves memory. */
export async function isEncrypted(path: string, systemRoot = '/'): Promise<boolean> {
	try {
		const facts = await stat(path);
		const device = facts.isBlockDevice() ? facts.rdev : facts.dev;
		const major = ((device >>> 8) & 0xfff) + Math.floor(device / 2 ** 32) * 4096;
		const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
		return await isCryptDevice(await realpath(join(systemRoot, `sys/dev/block/${major}:${minor}`)), 0);
	} catch {
		return false;
	}
}

async function isCryptDevice(sysPath: string, depth: number): Promise<boolean> {
	if (depth > MAX_DEPTH) return false;
	if (/^zram\d+$/.test(basename(sysPath))) return true;
	const uuid = await readFile(join(sysPath, 'dm/uuid'), 'utf8').catch(() => '');
	if (uuid.startsWith('CRYPT-')) return true;
	const below = await readdir(join(sysPath, 'slaves')).catch(() => []);
	if (below.length === 0) return false;
	for (const name of below) {
		if (!(await isCryptDevice(await realpath(join(sysPath, 'slaves', name)), depth + 1))) return false;
	}
	return true;
}
