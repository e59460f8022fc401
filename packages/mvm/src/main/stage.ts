// Stages what other users must be able to run: Node, the packages' sources, their production dependencies (the embedded
// Postgres among them) and the guest bundle, into `<data>/dist/<hash>`. A checkout may lie under a 0700 home; this does not.
//
//   <hash>/bin/node   packages/*/src (as JavaScript)   node_modules/…   guest/{bin/node, agent.cjs, mvm-openclaw.cjs}
//
// Called by `mvm up` before anything else starts. Content-addressed: the same checkout is staged once.
import { createHash, randomBytes } from 'node:crypto';
import {
	existsSync,
	linkSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { productionClosure } from './stage-closure.ts';
import { compileTree, manifestOf } from './stage-compile.ts';
import { copyOne, copyTree, filesBelow, makeFolder } from './stage-tree.ts';

export interface Staged {
	/** `<dist>/<hash>`; laid out like the repository. */
	readonly root: string;
	readonly node: string;
	readonly reused: boolean;
}

const PACKAGES = ['protocol', 'guest', 'mvm', 'sdk'];
/** Needed to stage, not to run. */
const NOT_STAGED = new Set(['esbuild']);
const BUNDLES = { 'agent.cjs': 'packages/guest/src/main.ts', 'mvm-openclaw.cjs': 'packages/guest/src/openclaw/main.ts' };
const COMPLETE = '.complete';

/** Stages this checkout below `distDir` and removes older stagings that nothing runs from. */
export async function stage(options: { readonly distDir: string }): Promise<Staged> {
	const { distDir } = options;
	const checkout = fileURLToPath(new URL('../../../../', import.meta.url)).replace(/\/$/, '');
	// The staged copy stages itself when it is asked to: it is whole already.
	if (existsSync(join(checkout, COMPLETE))) return staged(checkout, true);
	makeFolder(distDir);
	const root = join(distDir, contentHash(checkout));
	const reused = existsSync(join(root, COMPLETE));
	if (!reused) await build(checkout, distDir, root);
	removeUnused(distDir, root);
	return staged(root, reused);
}

function staged(root: string, reused: boolean): Staged {
	return { root, node: join(root, 'bin/node'), reused };
}

/** Everything that decides what is staged: sources, the lock and what is installed by it, and Node itself. */
function contentHash(checkout: string): string {
	const hash = createHash('sha256').update(`layout 2\n${process.version} ${process.arch} ${statSync(process.execPath).size}\n`);
	const add = (path: string): void => {
		hash.update(`${path}\0`).update(
			createHash('sha256')
				.update(readFileSync(join(checkout, path)))
				.digest(),
		);
	};
	for (const path of ['package.json', 'package-lock.json', 'node_modules/.package-lock.json'])
		if (existsSync(join(checkout, path))) add(path);
	for (const name of PACKAGES)
		for (const path of [
			'package.json',
			...filesBelow(join(checkout, 'packages', name), skipSource).filter((p) => p.startsWith('src/')),
		])
			add(`packages/${name}/${path}`);
	return hash.digest('hex').slice(0, 16);
}

function skipSource(name: string): boolean {
	return name === 'node_modules' || /\.test\.ts$|\.contract\.ts$|^testing$/.test(name);
}

/** Assembles beside and renames, so a folder of this name is always whole. */
async function build(checkout: string, distDir: string, root: string): Promise<void> {
	const incoming = join(distDir, `.incoming-${process.pid}-${randomBytes(4).toString('hex')}`);
	try {
		makeFolder(join(incoming, 'bin'));
		makeFolder(join(incoming, 'guest/bin'));
		copyOne(process.execPath, join(incoming, 'bin/node'));
		linkSync(join(incoming, 'bin/node'), join(incoming, 'guest/bin/node'));
		copyOne(join(checkout, 'package.json'), join(incoming, 'package.json'));
		makeFolder(join(incoming, 'node_modules/@mvm'));
		for (const name of PACKAGES) {
			const [from, to] = [join(checkout, 'packages', name), join(incoming, 'packages', name)];
			copyTree(join(from, 'src'), join(to, 'src'), skipSource); // the sources stay beside, for whoever reads a stack trace
			await compileTree(join(from, 'src'), join(to, 'src'), skipSource);
			writeFileSync(join(to, 'package.json'), manifestOf(readFileSync(join(from, 'package.json'), 'utf8')), { mode: 0o644 });
			symlinkSync(`../../packages/${name}`, join(incoming, 'node_modules/@mvm', name));
		}
		for (const { from, to } of productionClosure(checkout, join(checkout, 'packages/mvm'), NOT_STAGED))
			copyTree(from, join(incoming, to), (name) => name === 'node_modules');
		await bundleGuest(checkout, join(incoming, 'guest'));
		writeFileSync(join(incoming, COMPLETE), '', { mode: 0o644 });
		renameSync(incoming, root);
	} catch (error) {
		// Somebody staged the same at the same time: theirs is as good.
		if (!existsSync(join(root, COMPLETE))) throw error;
	} finally {
		rmSync(incoming, { recursive: true, force: true });
	}
}

async function bundleGuest(checkout: string, target: string): Promise<void> {
	const esbuild = await import('esbuild');
	for (const [name, entry] of Object.entries(BUNDLES)) {
		await esbuild.build({
			entryPoints: [join(checkout, entry)],
			outfile: join(target, name),
			bundle: true,
			platform: 'node',
			format: 'cjs',
			target: 'node24',
			legalComments: 'none',
			logLevel: 'silent',
		});
		copyMode(join(target, name));
	}
}

function copyMode(path: string): void {
	const text = readFileSync(path);
	rmSync(path);
	writeFileSync(path, text, { mode: 0o755 });
}

/** A staging is in use while any process runs its Node, inside of a sandbox or out; the file's identity tells. */
function removeUnused(distDir: string, keep: string): void {
	const running = runningPrograms();
	for (const name of readdirSync(distDir)) {
		const path = join(distDir, name);
		if (path === keep) continue;
		const pid = Number(/^\.incoming-(\d+)-/.exec(name)?.[1] ?? 0);
		if (pid !== 0 ? existsSync(`/proc/${pid}`) : running.has(identity(join(path, 'bin/node')) ?? 'none')) continue;
		rmSync(path, { recursive: true, force: true });
	}
}

function runningPrograms(): Set<string> {
	const programs = readdirSync('/proc')
		.filter((name) => /^\d+$/.test(name))
		.map((pid) => identity(`/proc/${pid}/exe`));
	return new Set(programs.filter((program) => program !== undefined));
}

/** Device and inode; undefined when gone or not ours to see. */
function identity(path: string): string | undefined {
	try {
		const { dev, ino } = statSync(path);
		return `${dev}:${ino}`;
	} catch {
		return undefined;
	}
}
