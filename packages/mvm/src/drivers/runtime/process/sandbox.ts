// The argument list of bubblewrap for one instance: what it sees, and nothing else. Pure; the process driver executes it.
// Order matters to bubblewrap: later mounts cover earlier ones, read-only remounts come last.

/** One read-only thing of an image: a host path and where it shows. */
export interface ImageBind {
	readonly source: string;
	readonly target: string;
}

/** A resolved image revision, as the image store hands it over. */
export interface SandboxImage {
	/** Read-only, in this order. */
	readonly binds: readonly ImageBind[];
	/** Symbolic links in the root: `[text, path]`. */
	readonly symlinks: readonly (readonly [text: string, path: string])[];
	/** Folder whose entries become `/etc`. */
	readonly etcEntries: readonly ImageBind[];
	/** Host folders hidden by an empty read-only one, such as `/usr/local` of a borrowed base. */
	readonly masked: readonly string[];
	readonly env: Readonly<Record<string, string>>;
}

export interface SandboxInput {
	readonly hostname: string;
	readonly image: SandboxImage;
	/** Folder with `bin/node` and the guest bundle, shown at `/opt/mvm`. */
	readonly guestDir: string;
	readonly dataDir: string;
	readonly linkDir: string;
	readonly secretsDir: string;
	readonly configDir: string;
	/** `range`: root mapped a uid range already. `single`: no root, bubblewrap maps the one uid it has. */
	readonly users: 'range' | 'single';
	readonly tmpBytes: number;
	readonly command: readonly string[];
}

/** Descriptors of the launched process; 0 is the starting gun, 1 and 2 the console log. */
export const BOOT_FD = 3;
export const STATUS_FD = 4;
export const SECCOMP_FD = 5;

const MIB = 1024 * 1024;

/** Made by hand, because bubblewrap makes missing parents 0700. One that exists is left as it is. */
const folder = (path: string): string[] => ['--perms', '0755', '--dir', path];

/** `/a/b/c` → `/a`, `/a/b`. */
function parents(path: string): string[] {
	const names = path.split('/').filter(Boolean).slice(0, -1);
	return names.map((_, at) => `/${names.slice(0, at + 1).join('/')}`);
}

export function sandboxArgv(input: SandboxInput): string[] {
	const { image } = input;
	const readOnly = ({ source, target }: ImageBind): string[] => ['--ro-bind', source, target];
	const tmpfs = (mode: string, bytes: number, path: string): string[] => [
		'--perms',
		mode,
		'--size',
		String(bytes),
		'--tmpfs',
		path,
	];
	const env = {
		PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
		HOME: '/tmp',
		LANG: 'C.UTF-8',
		...image.env,
		MVM_BOOT_FD: String(BOOT_FD),
	};
	return [
		'bwrap',
		...(input.users === 'range'
			? ['--cap-drop', 'ALL', '--cap-add', 'CAP_SETUID', '--cap-add', 'CAP_SETGID']
			: ['--unshare-user', '--disable-userns', '--uid', '1000', '--gid', '1000', '--cap-drop', 'ALL']),
		...['--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try', '--new-session'],
		...['--hostname', input.hostname],
		...[...new Set([...image.binds.flatMap(({ target }) => parents(target)), '/opt', '/run'])].flatMap(folder),
		...image.binds.flatMap(readOnly),
		...image.symlinks.flatMap(([text, path]) => ['--symlink', text, path]),
		...image.masked.flatMap((path) => ['--perms', '0755', '--tmpfs', path, '--remount-ro', path]),
		...['--proc', '/proc', '--dev', '/dev'],
		...tmpfs('1777', 64 * MIB, '/dev/shm'),
		...['--remount-ro', '/dev'],
		...tmpfs('1777', input.tmpBytes, '/tmp'),
		...tmpfs('0755', 16 * MIB, '/run/mvm'),
		...['--ro-bind', input.linkDir, '/run/mvm/link'],
		...['--ro-bind', input.secretsDir, '/run/secrets'],
		...['--bind', input.dataDir, '/data'],
		...['--ro-bind', input.guestDir, '/opt/mvm'],
		...['--perms', '0755', '--tmpfs', '/etc'],
		...image.etcEntries.flatMap(readOnly),
		...['--ro-bind', input.configDir, '/etc/mvm-config'],
		...['--remount-ro', '/etc', '--remount-ro', '/'],
		...['--json-status-fd', String(STATUS_FD), '--seccomp', String(SECCOMP_FD), '--clearenv'],
		...Object.entries(env).flatMap(([key, value]) => ['--setenv', key, value]),
		...['--chdir', '/', '--', ...input.command],
	];
}
