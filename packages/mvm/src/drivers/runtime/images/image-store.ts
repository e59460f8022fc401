// The image store of one host: builds revisions from recipes, keeps them under their hash, hands them to sandboxes, and
// removes what nobody needs. Constructed by hostd; the port's image calls and the driver's `resolveImage` end here.
import { chmod, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ImageRecipe, ImageRevision, MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import type { SandboxImage } from '../process/sandbox.ts';
import { buildImage } from './image-build.ts';
import { readInputs } from './image-inputs.ts';
import { readBase, recipeKey } from './image-key.ts';
import { nodeOf, readLayout } from './image-layout.ts';
import { holdFileLock } from './image-lock.ts';
import { imagePaths } from './image-paths.ts';
import { type InstallContext, listNodes } from './npm-install.ts';

export interface ImageStoreDeps {
	readonly dataDir: string;
	readonly clock: Clock;
	/** For finding npm and its configuration. */
	readonly env: Readonly<Record<string, string | undefined>>;
	/** Hashes that instances of this host use now; gc never removes one. */
	readonly inUse: () => readonly string[];
	/** Bound of one npm run; the default is 15 minutes. */
	readonly timeLimitMs?: number;
	/** A revision made or asked for this recently is not removed: a deploy may be about to name it. */
	readonly graceMs?: number;
}

type Options = { readonly signal: AbortSignal };

export interface ImageStore {
	/** Throws INVALID_DOCUMENT for the recipe, IMAGE_BUILD_FAILED with the last lines, UNSUPPORTED for kinds of later issues. */
	installImage(recipe: ImageRecipe, options: Options & { readonly onProgress?: (line: string) => void }): Promise<ImageRevision>;
	/** Newest first. */
	listImages(options: Options): Promise<readonly ImageRevision[]>;
	/** Removes what is neither in `keep` nor in use; returns the hashes. */
	gcImages(keep: readonly string[], options: Options): Promise<readonly string[]>;
	/** What a sandbox binds. Throws IMAGE_NOT_FOUND. */
	resolve(hash: string): Promise<SandboxImage>;
}

const HASH = /^[0-9a-f]{64}$/;
const GRACE_MS = 60_000;

export function makeImageStore(deps: ImageStoreDeps): ImageStore {
	const paths = imagePaths(deps.dataDir);

	const read = async (hash: string): Promise<ImageRevision | undefined> => {
		const text = await readFile(join(paths.revision(hash), 'revision.json'), 'utf8').catch(() => undefined);
		return text === undefined ? undefined : ImageRevision.tolerant.parse(JSON.parse(text));
	};
	const touch = async (hash: string): Promise<void> => {
		const now = deps.clock.now() / 1000;
		await utimes(join(paths.revision(hash), 'revision.json'), now, now);
	};
	/** The revision this recipe made last, if it is still here. */
	const findMade = async (key: string): Promise<ImageRevision | undefined> => {
		const hash = (await readFile(join(paths.locks, `${key}.made`), 'utf8').catch(() => '')).trim();
		const revision = HASH.test(hash) ? await read(hash) : undefined;
		if (revision === undefined) return undefined;
		await touch(hash);
		return { ...revision, reused: true };
	};
	const prepareFolders = async (): Promise<void> => {
		for (const folder of [paths.root, paths.revisions, paths.locks, paths.tmp]) {
			await mkdir(folder, { recursive: true });
			await chmod(folder, 0o711);
		}
	};

	const buildUnderLock = async (
		context: InstallContext,
		build: { recipe: ImageRecipe; inputs: Awaited<ReturnType<typeof readInputs>>; base: string; key: string },
	) => {
		const folder = join(paths.tmp, build.key);
		await rm(folder, { recursive: true, force: true });
		await mkdir(folder);
		await chmod(folder, 0o711);
		try {
			const known = await readFile(join(paths.locks, `${build.key}.package-lock.json`), 'utf8').catch(() => undefined);
			const built = await buildImage(context, { ...build, folder, known });
			if (built.packageLock !== undefined)
				await writeFile(join(paths.locks, `${build.key}.package-lock.json`), built.packageLock);
			const { hash } = built.revision;
			if ((await read(hash)) === undefined) {
				await rm(paths.revision(hash), { recursive: true, force: true });
				await rename(built.folder, paths.revision(hash));
			}
			await writeFile(join(paths.locks, `${build.key}.made`), `${hash}\n`);
			await touch(hash);
			return built.revision;
		} catch (error) {
			throw (error as NodeJS.ErrnoException).code === 'ENOSPC' ? full(error) : error;
		} finally {
			await rm(folder, { recursive: true, force: true });
		}
	};

	return {
		async installImage(recipe, { signal, onProgress = () => {} }) {
			const startedAt = deps.clock.monotonic();
			const inputs = await readInputs(recipe, { signal });
			const base = await readBase(recipe);
			const key = recipeKey(recipe, inputs, base);
			const say = (revision: ImageRevision): ImageRevision => {
				const seconds = ((deps.clock.monotonic() - startedAt) / 1000).toFixed(1);
				const size = `${Math.round(revision.bytes / 2 ** 20)} MiB`;
				onProgress(
					`image ${revision.name} ${revision.hash.slice(0, 12)}: ${size}, ${revision.reused ? 'was here already' : `built in ${seconds} s`}`,
				);
				return revision;
			};
			const made = await findMade(key);
			if (made !== undefined) return say(made);
			await prepareFolders();
			const lockPath = join(paths.locks, `${key}.lock`);
			let lock = await holdFileLock(lockPath, { signal, wait: false });
			if (lock === undefined) {
				onProgress(`image ${recipe.name}: waiting for another build of the same recipe`);
				lock = await holdFileLock(lockPath, { signal });
			}
			await using _lock = lock;
			const meanwhile = await findMade(key);
			if (meanwhile !== undefined) return say(meanwhile);
			onProgress(`image ${recipe.name}: building, kind ${recipe.kind} on ${base}`);
			const { clock, env, timeLimitMs } = deps;
			const context = { paths, clock, env, onProgress, signal, ...(timeLimitMs === undefined ? {} : { timeLimitMs }) };
			return say(await buildUnderLock(context, { recipe, inputs, base, key }));
		},

		async listImages() {
			const names = (await readdir(paths.revisions).catch(() => [])).filter((name) => HASH.test(name));
			const all = await Promise.all(names.map(read));
			return all.filter((revision) => revision !== undefined).sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
		},

		async gcImages(keep, { signal }) {
			const kept = new Set([...keep, ...deps.inUse()]);
			const removed: string[] = [];
			for (const hash of (await readdir(paths.revisions).catch(() => [])).filter((name) => HASH.test(name))) {
				signal.throwIfAborted();
				if (kept.has(hash)) continue;
				const facts = await stat(join(paths.revision(hash), 'revision.json')).catch(() => undefined);
				if (facts !== undefined && deps.clock.now() - facts.mtimeMs < (deps.graceMs ?? GRACE_MS)) continue;
				// Out of sight in one step, then erased: a crash in between leaves nothing half there.
				const doomed = join(paths.tmp, `removed-${hash}`);
				await rename(paths.revision(hash), doomed);
				removed.push(hash);
			}
			await eraseLeftovers(paths.tmp, paths.locks, signal);
			const nodes = new Set(
				await Promise.all((await readdir(paths.revisions).catch(() => [])).map((hash) => nodeOf(paths, hash))),
			);
			await using lock =
				removed.length === 0 ? undefined : await holdFileLock(join(paths.locks, 'node.lock'), { signal, wait: false });
			if (lock !== undefined && (await isIdle(paths.tmp)))
				for (const name of await listNodes(paths))
					if (!nodes.has(name)) await rm(join(paths.node, name), { recursive: true, force: true });
			return removed.sort();
		},

		async resolve(hash) {
			const missing = (cause?: unknown): MvmError =>
				new MvmError('IMAGE_NOT_FOUND', `there is no image ${hash} on this host`, {
					hint: 'build it: mvm image build <recipe>',
					cause,
				});
			if (!HASH.test(hash)) throw missing();
			try {
				return await readLayout(paths, hash);
			} catch (cause) {
				throw missing(cause);
			}
		},
	};
}

function full(cause: unknown): MvmError {
	return new MvmError('DISK_FULL', 'there is no room for the image', { hint: 'mvm image gc removes images nobody uses', cause });
}

/** Removed revisions, and builds whose process died: those whose lock nobody holds. */
async function eraseLeftovers(tmp: string, locks: string, signal: AbortSignal): Promise<void> {
	for (const name of await readdir(tmp).catch(() => [])) {
		if (!name.startsWith('removed-')) {
			await using lock = await holdFileLock(join(locks, `${name}.lock`), { signal, wait: false });
			if (lock !== undefined) await rm(join(tmp, name), { recursive: true, force: true });
		} else await rm(join(tmp, name), { recursive: true, force: true });
	}
}

/** No build is going on that may be about to use a Node. */
async function isIdle(tmp: string): Promise<boolean> {
	return (await readdir(tmp).catch(() => [])).length === 0;
}
