// Names builds: a key for what a recipe asks for on this host, a hash for what came out of it. Pure but for `readBase`.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { arch } from 'node:process';
import { ImageLock, ImageRecipe } from '@mvm/protocol';
import type { InputFile } from './image-inputs.ts';

/** Part of every hash: raise it when the same recipe and lock would come out differently. */
const BUILDER_VERSION = 1;

/** What the image borrows from its host, e.g. `host-usr debian 12.5 x64`. */
export async function readBase(recipe: ImageRecipe): Promise<string> {
	const kind = 'base' in recipe ? recipe.base : recipe.kind;
	const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
	const value = (key: string): string => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(release)?.[1] ?? 'unknown';
	const point = (await readFile('/etc/debian_version', 'utf8').catch(() => '')).trim();
	return [kind, value('ID'), point === '' ? value('VERSION_ID') : point, arch].join(' ');
}

/** The same recipe, inputs and base give the same key; where the recipe's folder lies does not matter. */
export function recipeKey(recipe: ImageRecipe, inputs: readonly InputFile[], base: string): string {
	const { baseDir: _place, ...asked } = recipe;
	const wire = ImageRecipe.encode(asked as ImageRecipe);
	return sha256(canonical({ builder: BUILDER_VERSION, recipe: wire, inputs: inputs.map(identity), base }));
}

/** The name of a revision: everything that is in its lock. */
export function revisionHash(lock: ImageLock): string {
	return sha256(canonical({ builder: BUILDER_VERSION, lock: ImageLock.encode(lock) }));
}

/** One hash for the copied files, for the lock. */
export function inputsDigest(inputs: readonly InputFile[]): string {
	return sha256(canonical(inputs.map(identity)));
}

export function sha256(text: string | Uint8Array): string {
	return createHash('sha256').update(text).digest('hex');
}

function identity({ to, kind, executable, linkText, sha256: content }: InputFile): unknown {
	return { to, kind, executable, link_text: linkText ?? null, sha256: content };
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
	return JSON.stringify(value, (_, inner: unknown) =>
		inner !== null && typeof inner === 'object' && !Array.isArray(inner)
			? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
			: inner,
	);
}
