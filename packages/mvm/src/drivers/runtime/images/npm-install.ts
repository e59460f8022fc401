// The two installs of an npm image: one Node for everybody who wants that version, and the recipe's packages. Called by
// image-build.ts with a build folder that nobody else sees. Leaves nothing outside it but a finished Node.
import {
	chmod,
	chown,
	copyFile,
	cp,
	lstat,
	mkdir,
	open,
	readdir,
	readFile,
	realpath,
	rename,
	rm,
	stat,
	writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { arch } from 'node:process';
import { type ImageLock, MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import { sha256 } from './image-key.ts';
import { holdFileLock } from './image-lock.ts';
import type { ImagePaths } from './image-paths.ts';
import { readHostNpm } from './npm-host.ts';
import { BUILD_UID, type NpmSandbox, runNpm } from './npm-sandbox.ts';

export interface InstallContext {
	readonly paths: ImagePaths;
	readonly clock: Clock;
	/** Environment of the platform, for finding npm and its configuration. */
	readonly env: Readonly<Record<string, string | undefined>>;
	readonly onProgress: (line: string) => void;
	readonly signal: AbortSignal;
	readonly timeLimitMs?: number;
}

export interface InstalledNode {
	readonly version: string;
	readonly folder: string;
	readonly package: string;
	readonly integrity: string | null;
	readonly sha256: string;
}

type Packages = ImageLock['packages'];

/** A Node of the wanted version (`24`, `24.21`, `24.21.0`): one that is here, else the newest of npm's `node-linux-<arch>`. */
export async function ensureNode(context: InstallContext, wanted: string, buildDir: string): Promise<InstalledNode> {
	const name = `node-linux-${arch}`;
	await mkdir(context.paths.node, { recursive: true, mode: 0o755 });
	await using _lock = await holdFileLock(join(context.paths.locks, 'node.lock'), context);
	const here = await findNode(context.paths, name, wanted);
	if (here !== undefined) {
		context.onProgress(`node ${here.version}: already here`);
		return here;
	}
	await writeBuildFile(join(buildDir, 'node/package.json'), JSON.stringify({ private: true, dependencies: { [name]: wanted } }));
	const sandbox = await openSandbox(context, buildDir);
	await runNpm(sandbox, 'node', ['install', '--ignore-scripts', '--no-save'], `node ${wanted}`);
	const source = join(buildDir, 'node/node_modules', name);
	const installed = await readInstalled(join(buildDir, 'node'));
	const version = installed[name]?.version;
	if (version === undefined || !/^\d+\.\d+\.\d+$/.test(version) || !(await lstat(join(source, 'bin/node'))).isFile())
		throw new MvmError('IMAGE_BUILD_FAILED', `the package ${name} did not bring a node`, { details: { wanted } });
	// Only the program: headers and manuals are half of the package and nobody builds in an instance.
	const folder = join(context.paths.node, `${name}-${version}`);
	const incoming = `${folder}.incoming`;
	await rm(incoming, { recursive: true, force: true });
	await mkdir(join(incoming, 'bin'), { recursive: true, mode: 0o755 });
	await copyFile(join(source, 'bin/node'), join(incoming, 'bin/node'));
	await chmod(join(incoming, 'bin/node'), 0o755);
	const facts = {
		version,
		package: name,
		integrity: installed[name]?.integrity ?? null,
		sha256: sha256(await readFile(join(incoming, 'bin/node'))),
	};
	await writeFile(join(incoming, 'node.json'), JSON.stringify(facts));
	await syncFile(join(incoming, 'bin/node'));
	await rename(incoming, folder);
	context.onProgress(`node ${version}: installed`);
	return { ...facts, folder };
}

/** Installs the packages into `<build>/npm`; `known` is the package-lock of an earlier build of the same recipe. */
export async function installPackages(
	context: InstallContext,
	input: {
		readonly packages: readonly string[];
		readonly buildDir: string;
		readonly nodePath: string;
		readonly known: string | undefined;
	},
): Promise<{ readonly folder: string; readonly packages: Packages; readonly packageLock: string }> {
	const folder = join(input.buildDir, 'npm');
	const dependencies = Object.fromEntries(input.packages.map((spec) => splitSpec(spec)));
	await writeBuildFile(join(folder, 'package.json'), `${JSON.stringify({ private: true, dependencies }, null, '\t')}\n`);
	if (input.known !== undefined) await writeBuildFile(join(folder, 'package-lock.json'), input.known);
	const sandbox = await openSandbox(context, input.buildDir, input.nodePath);
	await runNpm(sandbox, 'npm', ['install', '--omit=dev', '--install-links'], `npm install ${input.packages.join(' ')}`);
	const packages = await readInstalled(folder);
	const missing = Object.entries(dependencies).find(([name, version]) => packages[name]?.version !== version);
	if (missing !== undefined)
		throw new MvmError('IMAGE_BUILD_FAILED', `npm did not install ${missing.join('@')}`, {
			details: { found: packages[missing[0]]?.version ?? null },
		});
	return { folder, packages, packageLock: await readBuilt(folder, 'package-lock.json') };
}

/** The nodes that are here, for gc. */
export async function listNodes(paths: ImagePaths): Promise<string[]> {
	return (await readdir(paths.node).catch(() => [])).filter((name) => /^node-linux-[a-z0-9]+-\d+\.\d+\.\d+$/.test(name));
}

async function findNode(paths: ImagePaths, name: string, wanted: string): Promise<InstalledNode | undefined> {
	const prefix = `${name}-`;
	const versions = (await listNodes(paths))
		.filter((folder) => folder.startsWith(prefix))
		.map((folder) => folder.slice(prefix.length))
		.filter((version) => version === wanted || version.startsWith(`${wanted}.`))
		.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
	const version = versions.at(-1);
	if (version === undefined) return undefined;
	const folder = join(paths.node, prefix + version);
	const facts = JSON.parse(await readFile(join(folder, 'node.json'), 'utf8')) as Omit<InstalledNode, 'folder'>;
	return { ...facts, folder };
}

/** What npm really put there, from its own hidden record. */
async function readInstalled(folder: string): Promise<Packages> {
	const text = await readBuilt(folder, 'node_modules/.package-lock.json');
	const { packages = {} } = JSON.parse(text) as {
		packages?: Record<string, { version?: string; integrity?: string; resolved?: string }>;
	};
	const entries = Object.entries(packages).map(([at, facts]) => [
		at.replace(/^node_modules\//, ''),
		{ version: facts.version ?? '', integrity: facts.integrity ?? null },
	]);
	return Object.fromEntries(entries) as Packages;
}

/** A file that a build left below `folder`; install scripts may have made it, or its folder, a link to something only we can read. */
async function readBuilt(folder: string, name: string): Promise<string> {
	const path = join(await realpath(folder), name);
	if ((await realpath(path).catch(() => '')) !== path)
		throw new MvmError('IMAGE_BUILD_FAILED', 'npm left no record of what it installed', { details: { file: name } });
	return readFile(path, 'utf8');
}

async function openSandbox(context: InstallContext, buildDir: string, nodePath?: string): Promise<NpmSandbox> {
	const npm = await readHostNpm(context.env, context);
	for (const folder of ['home', 'cache']) await giveToBuilder(join(buildDir, folder), 'folder');
	return {
		nodePath: nodePath ?? (await reachable(context, process.execPath, 'node')),
		npm: { ...npm, packageDir: await reachable(context, npm.packageDir, 'npm') },
		buildDir,
		clock: context.clock,
		onProgress: context.onProgress,
		signal: context.signal,
		...(context.timeLimitMs === undefined ? {} : { timeLimitMs: context.timeLimitMs }),
	};
}

/** The path itself when the build user can get at it, else a copy below the store (a home may be closed to others). */
async function reachable(context: InstallContext, path: string, name: 'node' | 'npm'): Promise<string> {
	if (process.getuid?.() !== 0 || (await isOpen(path))) return path;
	const copy = join(context.paths.tools, `${name}-${sha256(`${path} ${(await stat(path)).mtimeMs}`).slice(0, 16)}`);
	const isHere = await stat(copy).then(
		() => true,
		() => false,
	);
	if (isHere) return copy;
	await mkdir(context.paths.tools, { recursive: true, mode: 0o755 });
	const incoming = `${copy}.${process.pid}`;
	await cp(path, incoming, { recursive: true, dereference: true });
	await rename(incoming, copy).catch(() => rm(incoming, { recursive: true, force: true })); // another build was faster
	return copy;
}

async function isOpen(path: string): Promise<boolean> {
	for (let at = dirname(path); ; at = dirname(at)) {
		if (((await stat(at)).mode & 0o001) === 0) return false;
		if (at === '/') break;
	}
	return ((await stat(path)).mode & 0o005) === 0o005;
}

async function writeBuildFile(path: string, text: string): Promise<void> {
	await mkdir(dirname(path), { recursive: true });
	await giveToBuilder(dirname(path), 'folder');
	await writeFile(path, text);
	await giveToBuilder(path, 'file');
}

async function giveToBuilder(path: string, kind: 'file' | 'folder'): Promise<void> {
	if (kind === 'folder') await mkdir(path, { recursive: true });
	if (process.getuid?.() === 0) await chown(path, BUILD_UID, BUILD_UID);
}

function splitSpec(spec: string): [name: string, version: string] {
	const at = spec.lastIndexOf('@');
	return [spec.slice(0, at), spec.slice(at + 1)];
}

async function syncFile(path: string): Promise<void> {
	await using handle = await open(path, 'r');
	await handle.sync();
}
