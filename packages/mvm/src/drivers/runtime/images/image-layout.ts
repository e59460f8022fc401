// What a sandbox binds and sets for one revision: decided at the end of a build, kept beside it as layout.json, and made
// absolute when a sandbox asks. Called by image-build.ts and the store.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SandboxImage } from '../process/sandbox.ts';
import type { InputFile } from './image-inputs.ts';
import type { ImagePaths } from './image-paths.ts';

/** Stored form: sources are relative to the revision (`rootfs/…`), to the store (`node/…`) or of the host (`/usr`). */
export interface ImageLayout {
	readonly version: 1;
	readonly binds: readonly { readonly source: string; readonly target: string }[];
	readonly env: Readonly<Record<string, string>>;
}

const BASE_BINDS = [{ source: '/usr', target: '/usr' }];
/** A merged /usr, as Debian has had since 12. */
const BASE_LINKS = [
	['usr/bin', '/bin'],
	['usr/sbin', '/sbin'],
	['usr/lib', '/lib'],
	['usr/lib64', '/lib64'],
] as const;
/** Of the host's own administration; not part of a base. */
const MASKED = ['/usr/local', '/usr/etc', '/usr/src'];
const SYSTEM_PATH = '/usr/bin:/bin:/usr/sbin:/sbin';

/** The layout of an image whose files are `inputs`, with npm packages and a Node of their own when `node` says which. */
export function makeLayout(inputs: readonly InputFile[], node: string | undefined): ImageLayout {
	const own = [...(node === undefined ? [] : ['/opt/npm']), ...inputs.map((input) => input.to)].filter(
		(to) => !to.startsWith('/etc/'),
	);
	// A place below another one comes with it.
	const roots = own.filter((to) => !own.some((other) => to !== other && to.startsWith(`${other}/`)));
	return {
		version: 1,
		binds: [
			...(node === undefined ? [] : [{ source: `node/${node}`, target: '/opt/node' }]),
			...[...new Set(roots)].sort().map((to) => ({ source: `rootfs${to}`, target: to })),
		],
		// Without a Node of its own an image may use the guest agent's.
		env: { PATH: node === undefined ? `/opt/mvm/bin:${SYSTEM_PATH}` : `/opt/npm/node_modules/.bin:/opt/node/bin:${SYSTEM_PATH}` },
	};
}

/** Reads the layout of a revision and makes every source absolute. Throws what readFile throws when it is not whole. */
export async function readLayout(paths: ImagePaths, hash: string): Promise<SandboxImage> {
	const revision = paths.revision(hash);
	const layout = JSON.parse(await readFile(join(revision, 'layout.json'), 'utf8')) as ImageLayout;
	const etc = join(revision, 'rootfs/etc');
	const absolute = (source: string): string => join(source.startsWith('node/') ? paths.root : revision, source);
	return {
		binds: [...BASE_BINDS, ...layout.binds.map(({ source, target }) => ({ source: absolute(source), target }))],
		symlinks: BASE_LINKS,
		// A link would be followed on the host when it is bound, so none is.
		etcEntries: (await readdir(etc, { withFileTypes: true }))
			.filter((entry) => entry.name !== 'mvm-config' && !entry.isSymbolicLink())
			.map(({ name }) => name)
			.sort()
			.map((name) => ({ source: join(etc, name), target: `/etc/${name}` })),
		masked: MASKED,
		env: layout.env,
	};
}

/** The Node folder a revision uses, for gc. */
export async function nodeOf(paths: ImagePaths, hash: string): Promise<string | undefined> {
	const text = await readFile(join(paths.revision(hash), 'layout.json'), 'utf8').catch(() => '{}');
	const { binds = [] } = JSON.parse(text) as Partial<ImageLayout>;
	return binds
		.map(({ source }) => source)
		.find((source) => source.startsWith('node/'))
		?.slice('node/'.length);
}
