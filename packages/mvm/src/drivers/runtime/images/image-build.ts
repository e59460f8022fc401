// Builds one revision in a folder of its own and hands back what is in it. Called by the store under the recipe's lock.
// The store moves the folder into place; whatever throws in here leaves nothing that counts.
import { chmod, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ImageLock, type ImageRecipe, ImageRevision, MvmError } from '@mvm/protocol';
import { runTool } from '../process/run-tool.ts';
import { makeEtc } from './image-etc.ts';
import { copyInputs, type InputFile } from './image-inputs.ts';
import { inputsDigest, revisionHash, sha256 } from './image-key.ts';
import { makeLayout } from './image-layout.ts';
import { ensureNode, type InstallContext, installPackages } from './npm-install.ts';

export interface BuildInput {
	readonly recipe: ImageRecipe;
	readonly inputs: readonly InputFile[];
	readonly base: string;
	readonly key: string;
	/** Empty folder, passable by the build user. */
	readonly folder: string;
	/** package-lock of an earlier build of this recipe. */
	readonly known: string | undefined;
}

export interface Built {
	readonly revision: ImageRevision;
	/** Complete and durable; to be renamed to the revision's place. */
	readonly folder: string;
	readonly packageLock: string | undefined;
}

export async function buildImage(context: InstallContext, input: BuildInput): Promise<Built> {
	const { recipe, inputs } = input;
	requireSupported(recipe);
	const image = join(input.folder, 'image');
	const rootfs = join(image, 'rootfs');
	await mkdir(join(rootfs, 'opt'), { recursive: true, mode: 0o755 });
	const npm = recipe.kind === 'npm' ? await installNpm(context, recipe, input, rootfs) : undefined;
	await copyInputs(inputs, rootfs, context);
	await makeEtc(rootfs);
	context.onProgress('checking and sealing the files');
	await seal(image, context);
	const lock: ImageLock = {
		version: 1,
		recipeSha256: input.key,
		packages: npm?.packages ?? {},
		inputs: { base: sha256(input.base), files: inputsDigest(inputs), ...(npm === undefined ? {} : { node: npm.node.sha256 }) },
	};
	const bytes = Number((await runTool(['du', '--summarize', '--bytes', image], context)).split('\t')[0]);
	const nodeBytes = npm === undefined ? 0 : (await stat(join(npm.node.folder, 'bin/node'))).size;
	const revision: ImageRevision = {
		hash: revisionHash(lock),
		name: recipe.name,
		kind: recipe.kind,
		createdAt: new Date(context.clock.now()).toISOString(),
		bytes: bytes + nodeBytes,
		reused: false,
		workload: recipe.workload,
		lock,
	};
	const layout = makeLayout(inputs, npm === undefined ? undefined : `${npm.node.package}-${npm.node.version}`);
	await writeFile(join(image, 'layout.json'), JSON.stringify(layout), { mode: 0o644 });
	await writeFile(join(image, 'revision.json'), JSON.stringify(ImageRevision.encode(revision)), { mode: 0o644 });
	await runTool(['sync', '--file-system', image], context);
	return { revision, folder: image, packageLock: npm?.packageLock };
}

function requireSupported(recipe: ImageRecipe): void {
	const what =
		recipe.kind === 'npm' || recipe.kind === 'dir'
			? recipe.base === 'host-usr'
				? undefined
				: `base ${recipe.base}`
			: `kind ${recipe.kind}`;
	if (what !== undefined)
		throw new MvmError('UNSUPPORTED', `images of ${what} are not part of this build`, {
			hint: 'use kind npm or dir with base host-usr',
		});
}

async function installNpm(context: InstallContext, recipe: ImageRecipe & { kind: 'npm' }, input: BuildInput, rootfs: string) {
	const buildDir = join(input.folder, 'build');
	await mkdir(buildDir);
	await chmod(buildDir, 0o711);
	const node = await ensureNode(context, recipe.node, buildDir);
	const nodePath = join(node.folder, 'bin/node');
	const installed = await installPackages(context, { packages: recipe.packages, buildDir, nodePath, known: input.known });
	await rename(installed.folder, join(rootfs, 'opt/npm'));
	await rm(buildDir, { recursive: true, force: true });
	const packages = { ...installed.packages, [node.package]: { version: node.version, integrity: node.integrity } };
	return { node, packages, packageLock: installed.packageLock };
}

/** Plain files only, everybody may read, nobody but the owner (root) may write, nothing carries a right. */
async function seal(image: string, context: InstallContext): Promise<void> {
	const strange = await runTool(
		['find', image, '-not', '-type', 'f', '-not', '-type', 'd', '-not', '-type', 'l', '-print', '-quit'],
		context,
	);
	if (strange !== '')
		throw new MvmError('IMAGE_BUILD_FAILED', 'an install script left something that is no file', {
			details: { path: strange.trim() },
		});
	if (process.getuid?.() === 0) await runTool(['chown', '--recursive', '--no-dereference', '0:0', image], context);
	await runTool(['chmod', '--recursive', 'a+rX,u+w,go-w,a-st', image], context);
}
