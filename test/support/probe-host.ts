// Folders, guest bundle and image for tests that boot probe guests, outside of any 0700 home, and gone afterwards.
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Stands for an installed revision: the host's `/usr` and nothing else. */
export const PROBE_IMAGE_HASH = 'a'.repeat(64);

export const PROBE_IMAGE = {
	binds: [{ source: '/usr', target: '/usr' }],
	symlinks: [
		['usr/lib', '/lib'],
		['usr/lib64', '/lib64'],
		['usr/bin', '/bin'],
		['usr/sbin', '/sbin'],
	],
	etcEntries: [],
	masked: ['/usr/local'],
	env: {},
} as const;

export const PROBE_COMMAND = ['/opt/mvm/bin/node', '/opt/mvm/probe-guest.ts'];

export interface ProbeFolders {
	readonly root: string;
	readonly dataDir: string;
	readonly runDir: string;
	/** Holds `guest/`, as a staged distribution does. */
	readonly dist: string;
	readonly claimsDir: string;
	remove(): void;
}

export function makeProbeFolders(): ProbeFolders {
	const root = mkdtempSync(join(tmpdir(), 'mvm-probe-'));
	chmodSync(root, 0o711);
	const dist = join(root, 'dist');
	mkdirSync(join(dist, 'guest/bin'), { recursive: true, mode: 0o755 });
	copyFileSync(process.execPath, join(dist, 'guest/bin/node'));
	copyFileSync(fileURLToPath(new URL('./probe-guest.ts', import.meta.url)), join(dist, 'guest/probe-guest.ts'));
	return {
		root,
		dist,
		dataDir: join(root, 'data'),
		runDir: join(root, 'run'),
		claimsDir: join(root, 'claims'),
		remove: () => rmSync(root, { recursive: true, force: true }),
	};
}
