// What of the operator's environment tells where npm is and how it is configured. `mvm up` clears everything else away before it
// starts hostd, and image builds would not find an npm of a version manager, or a registry that stands in ~/.npmrc. Pure.
import { delimiter, join } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

const PASSED =
	/^(npm_config_(registry|cafile|globalconfig|userconfig|proxy|https_proxy|noproxy|strict_ssl)|https?_proxy|no_proxy)$/i;

/** Settings to pass on; `isThere` says whether a file exists. Credentials inside the files are never passed to a build. */
export function npmEnvironment(env: Environment, isThere: (path: string) => boolean): Record<string, string> {
	const passed = Object.entries(env).filter(
		(entry): entry is [string, string] => PASSED.test(entry[0]) && entry[1] !== undefined,
	);
	const userconfig = join(env['HOME'] ?? '/', '.npmrc');
	return { ...(isThere(userconfig) ? { npm_config_userconfig: userconfig } : {}), ...Object.fromEntries(passed) };
}

/** `path` with the folder of the operator's npm behind it, when it is not in there already. */
export function withNpmFolder(path: string, env: Environment, isThere: (path: string) => boolean): string {
	const folders = path.split(delimiter);
	const candidates = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder.startsWith('/'));
	if (folders.some((folder) => isThere(join(folder, 'npm')))) return path;
	const own = candidates.find((folder) => isThere(join(folder, 'npm')));
	return own === undefined ? path : [...folders, own].join(delimiter);
}
