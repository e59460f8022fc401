// Which installed npm packages the product needs to run: the production dependencies of a package, and theirs. Reads
// package.json files only. Used by stage.ts.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

export interface InstalledPackage {
	/** Where it is now. */
	readonly from: string;
	/** Where it belongs, relative to the repository root. */
	readonly to: string;
}

interface Manifest {
	readonly dependencies?: Readonly<Record<string, string>>;
	readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Every package that `start` (a folder below `root`) needs, without workspace siblings, which are copied as sources.
 * An optional dependency that is not installed is left out; a required one throws.
 */
export function productionClosure(root: string, start: string, without: ReadonlySet<string>): readonly InstalledPackage[] {
	const found = new Map<string, InstalledPackage>();
	const visit = (folder: string): void => {
		const { dependencies = {}, optionalDependencies = {} } = readManifest(folder);
		for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
			if (without.has(name)) continue;
			const at = locate(root, folder, name);
			if (at === undefined) {
				if (name in optionalDependencies) continue;
				throw new Error(`${name}, needed by ${relative(root, folder)}, is not installed`);
			}
			const real = realpathSync(at);
			if (!real.includes(`${sep}node_modules${sep}`)) {
				if (!found.has(real)) {
					found.set(real, { from: real, to: '' });
					visit(real);
				}
				continue;
			}
			if (found.has(at)) continue;
			found.set(at, { from: at, to: relative(root, at) });
			visit(at);
		}
	};
	visit(start);
	return [...found.values()].filter(({ to }) => to !== '').sort((a, b) => (a.to < b.to ? -1 : 1));
}

/** As Node resolves it: the nearest `node_modules/<name>` upwards, not above the repository. */
function locate(root: string, folder: string, name: string): string | undefined {
	for (let at = folder; ; at = dirname(at)) {
		const candidate = join(at, 'node_modules', name);
		if (existsSync(join(candidate, 'package.json'))) return candidate;
		if (at === root || at === dirname(at)) return undefined;
	}
}

function readManifest(folder: string): Manifest {
	return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}
