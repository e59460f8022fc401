// Copying for stage.ts: whole trees with plain modes, so that every user of the host may read and run the copy.
import { chmodSync, constants, copyFileSync, mkdirSync, readdirSync, readlinkSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

/** Copies `from` to `to`: folders 0755, files 0644 or 0755, links as they are. `skip` sees each entry's name. */
export function copyTree(from: string, to: string, skip: (name: string) => boolean): void {
	makeFolder(to);
	for (const entry of readdirSync(from, { withFileTypes: true })) {
		if (skip(entry.name)) continue;
		const source = join(from, entry.name);
		const target = join(to, entry.name);
		if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
		else if (entry.isDirectory()) copyTree(source, target, skip);
		else if (entry.isFile()) copyOne(source, target);
	}
}

export function copyOne(source: string, target: string): void {
	copyFileSync(source, target, constants.COPYFILE_FICLONE);
	chmodSync(target, (statSync(source).mode & 0o111) === 0 ? 0o644 : 0o755);
}

export function makeFolder(path: string): void {
	mkdirSync(path, { recursive: true, mode: 0o755 });
	chmodSync(path, 0o755);
}

/** Relative paths of all files below `root`, sorted. */
export function filesBelow(root: string, skip: (name: string) => boolean, prefix = ''): string[] {
	return readdirSync(join(root, prefix), { withFileTypes: true })
		.filter((entry) => !skip(entry.name))
		.flatMap((entry) => {
			const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
			return entry.isDirectory() ? filesBelow(root, skip, path) : [path];
		})
		.sort();
}
