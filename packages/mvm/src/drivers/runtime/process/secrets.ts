// The instance's secrets folder: tmpfs without swap as root, else a folder in the run directory. Files are replaced by
// rename, so a reader inside sees the old or the new value, never half of one. Called by the process driver only.
import {
	chmodSync,
	chownSync,
	existsSync,
	mkdirSync,
	readdirSync,
	renameSync,
	rmdirSync,
	rmSync,
	statSync,
	unlinkSync,
	writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import type { SecretFile } from '../../../ports/runtime.ts';
import { isMountPoint, unmount } from './mounts.ts';
import { runTool } from './run-tool.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const SIZE = '4m';

export interface SecretsFolder {
	ensure(path: string, options: { signal: AbortSignal }): Promise<void>;
	/** Makes the folder hold exactly `files`, owned by `owner` (host uid; undefined: ourselves). */
	write(path: string, files: readonly SecretFile[], owner: number | undefined): void;
	erase(path: string, options: { signal: AbortSignal }): Promise<void>;
}

/** `tmpfs`: `noswap`, `swappable` (older kernels) or `none` (no root: a folder in the run directory). */
export function makeSecretsFolder(clock: Clock, options: { readonly tmpfs: 'noswap' | 'swappable' | 'none' }): SecretsFolder {
	return {
		async ensure(path, { signal }) {
			mkdirSync(path, { recursive: true, mode: 0o711 });
			if (options.tmpfs === 'none' || isMountPoint(path)) return;
			const noswap = options.tmpfs === 'noswap' ? ',noswap' : '';
			const flags = `nosuid,nodev,noexec,mode=0711,size=${SIZE}${noswap}`;
			await runTool(['mount', '-t', 'tmpfs', '-o', flags, 'mvm-secrets', path], { signal });
		},
		write: (path, files, owner) => writeSecrets(path, files, owner),
		async erase(path, { signal }) {
			await unmount(clock, path, { signal });
			rmSync(path, { recursive: true, force: true });
		},
	};
}

function writeSecrets(root: string, files: readonly SecretFile[], owner: number | undefined): void {
	for (const { integration, key } of files)
		for (const name of [integration, key])
			if (!NAME.test(name))
				throw new MvmError('INVALID_ID', `${JSON.stringify(name)} cannot name a secret`, { details: { name } });
	const wanted = new Map<string, Map<string, string>>();
	for (const { integration, key, value } of files) {
		const keys = wanted.get(integration) ?? new Map<string, string>();
		keys.set(key, value);
		wanted.set(integration, keys);
	}
	for (const [integration, keys] of wanted) {
		const folder = join(root, integration);
		if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 });
		for (const [key, value] of keys) replaceFile(folder, key, value, owner);
		finishFolder(folder, owner);
		for (const name of readdirSync(folder)) if (!keys.has(name)) unlinkSync(join(folder, name));
	}
	for (const name of readdirSync(root)) {
		if (wanted.has(name)) continue;
		const folder = join(root, name);
		for (const key of readdirSync(folder)) unlinkSync(join(folder, key));
		rmdirSync(folder);
	}
}

/** Temporary names start with a dot, which no key may, so they cannot collide and are swept by the next write. */
function replaceFile(folder: string, key: string, value: string, owner: number | undefined): void {
	const temporary = join(folder, `.${key}`);
	rmSync(temporary, { force: true });
	writeFileSync(temporary, value, { flag: 'wx', mode: 0o400 });
	if (owner !== undefined) chownSync(temporary, owner, owner);
	renameSync(temporary, join(folder, key));
}

/** Root can write into a folder that its owner cannot; without root the owner is us, and the bind mount is read-only. */
function finishFolder(folder: string, owner: number | undefined): void {
	if (owner === undefined || statSync(folder).uid === owner) return;
	chownSync(folder, owner, owner);
	chmodSync(folder, 0o500);
}
