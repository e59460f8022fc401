// Reads what a recipe takes from the folder beside it: single files and, for kind `dir`, a tree. Called by the store, first
// to name the build (hashes only), then to copy. Links are kept as links and never followed; nothing outside the
// recipe's folder is read.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, realpath, symlink } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { type DocumentProblem, type ImageRecipe, isMvmError, MvmError } from '@mvm/protocol';
import { checkDestination } from './image-destination.ts';

/** One thing to put into the image. */
export interface InputFile {
	/** Absolute path in the image. */
	readonly to: string;
	readonly kind: 'file' | 'dir' | 'symlink';
	readonly source: string;
	readonly executable: boolean;
	readonly linkText?: string;
	/** Of the content; empty for folders and links. */
	readonly sha256: string;
	readonly bytes: number;
}

const MAX_ENTRIES = 200_000;
const MAX_BYTES = 4 * 2 ** 30;
const MAX_DEPTH = 60;

/** The host's own business and people's keys. hostd reads with root's rights for a daemon that has none, so this is a wall. */
const PRIVATE =
	/^\/(etc|proc|sys|dev|run|boot|var\/(log|spool|cache|mail|backups))\/|^\/$|^\/root\/$|\/\.(ssh|gnupg|aws|kube|docker|config)\//;

type Options = { readonly signal: AbortSignal };

/** Everything the recipe takes from its folder, hashed, sorted by destination. Throws INVALID_DOCUMENT with every problem. */
export async function readInputs(recipe: ImageRecipe, options: Options): Promise<InputFile[]> {
	const found: InputFile[] = [];
	const problems: DocumentProblem[] = [];
	const collect = async (read: () => Promise<void>): Promise<void> => {
		try {
			await read();
		} catch (error) {
			if (!isMvmError(error, 'INVALID_DOCUMENT')) throw error;
			problems.push(...(error.details['problems'] as DocumentProblem[]));
		}
	};
	if (recipe.kind === 'dir') {
		const { dir, to } = recipe;
		await collect(async () => {
			const target = checkDestination(to, 'to');
			const source = await resolveInside(recipe, dir, 'dir');
			if (!(await lstat(source)).isDirectory()) throw problem('dir', `${dir} is not a folder`);
			await readTree({ source, to: target, field: 'dir', found }, 1, options);
		});
	}
	for (const [destination, from] of Object.entries(recipe.files)) {
		const field = `files.${destination}`;
		await collect(async () => {
			const to = checkDestination(destination, field);
			const source = await resolveInside(recipe, from, field);
			if (!(await lstat(source)).isFile()) throw problem(field, `${from} is not a file`);
			// A file named by itself wins over one that the folder brought to the same place.
			const at = found.findIndex((input) => input.to === to);
			if (at >= 0) found.splice(at, 1);
			found.push(await readOne(source, to, options));
		});
	}
	if (found.reduce((sum, input) => sum + input.bytes, 0) > MAX_BYTES)
		problems.push({ path: recipe.kind === 'dir' ? 'dir' : 'files', message: `more than ${MAX_BYTES} bytes` });
	if (problems.length > 0) throw invalid(problems);
	return found.sort((a, b) => (a.to < b.to ? -1 : 1));
}

/** Writes the inputs below `rootfs`. Throws IMAGE_BUILD_FAILED when one is not what was hashed before. */
export async function copyInputs(inputs: readonly InputFile[], rootfs: string, options: Options): Promise<void> {
	for (const input of inputs) {
		const at = join(rootfs, input.to);
		await mkdir(input.kind === 'dir' ? at : dirname(at), { recursive: true, mode: 0o755 });
		if (input.kind === 'symlink') await symlink(input.linkText ?? '', at);
		if (input.kind !== 'file') continue;
		await using from = await openPlain(input.source);
		await using to = await open(at, 'wx', input.executable ? 0o755 : 0o644);
		const sha256 = await pump(from, options, async (chunk) => void (await to.writeFile(chunk)));
		if (sha256 !== input.sha256)
			throw new MvmError('IMAGE_BUILD_FAILED', `${input.source} changed while the image was built`, { hint: 'build again' });
	}
}

async function readTree(
	at: { source: string; to: string; field: string; found: InputFile[] },
	depth: number,
	options: Options,
): Promise<void> {
	if (depth > MAX_DEPTH) throw problem(at.field, `folders deeper than ${MAX_DEPTH}`);
	at.found.push({ to: at.to, kind: 'dir', source: at.source, executable: true, sha256: '', bytes: 0 });
	for (const name of (await readdir(at.source)).sort()) {
		options.signal.throwIfAborted();
		if (at.found.length > MAX_ENTRIES) throw problem(at.field, `more than ${MAX_ENTRIES} entries`);
		const source = join(at.source, name);
		const to = `${at.to}/${name}`;
		const facts = await lstat(source);
		if (facts.isDirectory()) await readTree({ ...at, source, to }, depth + 1, options);
		else if (facts.isSymbolicLink()) {
			const linkText = await readlink(source);
			at.found.push({ to, kind: 'symlink', source, executable: false, linkText, sha256: '', bytes: 0 });
		} else if (facts.isFile()) at.found.push(await readOne(source, to, options));
		else throw problem(at.field, `${name} is neither file, folder nor link`);
	}
}

async function readOne(source: string, to: string, options: Options): Promise<InputFile> {
	await using handle = await openPlain(source);
	const facts = await handle.stat();
	const sha256 = await pump(handle, options, async () => {});
	return { to, kind: 'file', source, executable: (facts.mode & 0o111) !== 0, sha256, bytes: facts.size };
}

async function pump(from: FileHandle, options: Options, write: (chunk: Uint8Array) => Promise<void>): Promise<string> {
	const hash = createHash('sha256');
	for await (const chunk of from.createReadStream({ autoClose: false, highWaterMark: 256 * 1024 })) {
		options.signal.throwIfAborted();
		hash.update(chunk as Uint8Array);
		await write(chunk as Uint8Array);
	}
	return hash.digest('hex');
}

async function openPlain(path: string): Promise<FileHandle> {
	const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
	if ((await handle.stat()).isFile()) return handle;
	await handle.close();
	throw problem('files', `${path} is not a plain file`);
}

/** A path of the recipe, which may be a link as long as it ends inside the recipe's folder. */
async function resolveInside(recipe: ImageRecipe, relative: string, field: string): Promise<string> {
	if (recipe.baseDir === undefined) throw problem(field, 'the recipe came without the folder it stands in');
	const base = await realpath(recipe.baseDir).catch(() => {
		throw problem('base_dir', `there is no folder ${recipe.baseDir} on this host`);
	});
	if (base === sep || PRIVATE.test(`${base}/`))
		throw problem('base_dir', `${base} is not a place for recipes: what is in it would be readable in every instance`);
	const path = await realpath(join(base, relative)).catch(() => {
		throw problem(field, `there is no ${relative} beside the recipe`);
	});
	if (PRIVATE.test(`${path}/`) || (path !== base && !path.startsWith(base + sep)))
		throw problem(field, `${relative} leads out of the recipe's folder`);
	return path;
}

const problem = (path: string, message: string): MvmError => invalid([{ path, message }]);

function invalid(problems: readonly DocumentProblem[]): MvmError {
	const [first] = problems;
	const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
	return new MvmError('INVALID_DOCUMENT', `the image recipe is not usable: ${first?.path}: ${first?.message}${more}`, {
		details: { problems },
		hint: 'nothing was built',
	});
}
