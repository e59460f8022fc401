// Adds to package-lock.json the optional platform packages that a partial registry mirror left out.
// Without them `npm ci` calls the lock out of sync (npm drops an optional entry it could not resolve, then misses it).
// Run by `npm run lock`; the entries carry no integrity, so a full registry fills them in.
import { readFileSync, writeFileSync } from 'node:fs';

interface LockEntry {
	version?: string;
	optional?: boolean;
	optionalDependencies?: Record<string, string>;
	os?: string[];
	cpu?: string[];
	dev?: boolean;
	engines?: Record<string, string>;
}

/** Guesses `os` and `cpu` from a platform package's name; npm only needs them to skip the entry elsewhere. */
function platformOf(name: string): { os: string[]; cpu: string[] } {
	const os = [
		'darwin',
		'linux',
		'win32',
		'windows',
		'android',
		'freebsd',
		'openbsd',
		'netbsd',
		'sunos',
		'aix',
		'openharmony',
	].find((o) => name.includes(o));
	const cpu = ['arm64', 'x64', 'ia32', 'arm', 'ppc64', 'riscv64', 's390x', 'loong64', 'mips64el', 'wasm32'].find((c) =>
		name.includes(c),
	);
	return { os: [os === 'windows' ? 'win32' : (os ?? 'none')], cpu: [cpu ?? 'none'] };
}

const path = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(path, 'utf8')) as { packages: Record<string, LockEntry> };
let added = 0;
for (const entry of Object.values({ ...lock.packages })) {
	for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
		const key = `node_modules/${name}`;
		if (lock.packages[key] !== undefined || !/^\d/.test(version)) continue;
		lock.packages[key] = { version, optional: true, ...platformOf(name), ...(entry.dev === true ? { dev: true } : {}) };
		added += 1;
	}
}
if (added > 0) {
	const sorted = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
	writeFileSync(path, `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`);
}
process.stdout.write(`complete-lock: ${added} optional platform packages added\n`);
