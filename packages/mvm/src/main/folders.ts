// Makes the platform's folders with the owners and modes of docs/architecture.md; repairs them when they differ.
import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { MvmError } from '@mvm/protocol';
import type { Paths } from '../platform/paths.ts';

interface Owner {
	readonly uid: number;
	readonly gid: number;
}

/** `daemon` owns what the daemon and Postgres write; everything above it is passable (0711) but not listable. */
export function makeFolders(paths: Paths, supervisor: Owner, daemon: Owner): void {
	folder(paths.data, 0o711, supervisor);
	folder(paths.run, 0o711, supervisor);
	for (const path of [paths.admin, paths.postgresSocketDir, paths.postgresData, paths.blobs, paths.keys])
		folder(path, 0o700, daemon);
	folder(paths.logs, 0o750, supervisor);
	folder(dirname(paths.codeCache.hostd), 0o711, supervisor);
	folder(paths.codeCache.hostd, 0o700, supervisor);
	folder(paths.codeCache.daemon, 0o700, daemon);
}

function folder(path: string, mode: number, owner: Owner): void {
	mkdirSync(path, { recursive: true, mode });
	const stat = lstatSync(path);
	if (!stat.isDirectory()) {
		throw new MvmError('CONFIG_INVALID', `${path} is not a folder`, { hint: `remove it; its parent is ${dirname(path)}` });
	}
	if (process.getuid?.() === 0 && (stat.uid !== owner.uid || stat.gid !== owner.gid)) chownSync(path, owner.uid, owner.gid);
	if ((stat.mode & 0o7777) !== mode) chmodSync(path, mode);
}
