// Where things are on a host (docs/architecture.md, "Where things are on a host"). Pure: environment and uid are parameters.
import { join } from 'node:path';

export interface Paths {
	readonly data: string;
	readonly run: string;
	/** Operator's configuration file; may not exist. */
	readonly config: string;
	readonly admin: string;
	readonly adminSocket: string;
	readonly hostdSocket: string;
	readonly postgresData: string;
	readonly postgresSocketDir: string;
	readonly blobs: string;
	readonly keys: string;
	readonly dist: string;
	/** Compiled code of each process, in a folder that only its own user may write. */
	readonly codeCache: { readonly hostd: string; readonly daemon: string };
	readonly logs: string;
	/** Pids of supervisor, hostd and daemon with their start times; read by `mvm down`. */
	readonly pidFile: string;
}

export interface PathOptions {
	readonly uid: number;
	readonly env: Readonly<Record<string, string | undefined>>;
	readonly dataDir?: string;
	readonly runDir?: string;
	readonly config?: string;
}

/** Resolves every folder and socket from flags, then MVM_* variables, then the defaults of this user. */
export function resolvePaths({ uid, env, dataDir, runDir, config }: PathOptions): Paths {
	const home = env['HOME'] ?? '/';
	const data =
		dataDir ??
		env['MVM_DATA_DIR'] ??
		(uid === 0 ? '/var/lib/mvm' : join(env['XDG_DATA_HOME'] ?? join(home, '.local/share'), 'mvm'));
	const run = runDir ?? env['MVM_RUN_DIR'] ?? (uid === 0 ? '/run/mvm' : join(env['XDG_RUNTIME_DIR'] ?? `/tmp/mvm-${uid}`, 'mvm'));
	const admin = join(run, 'admin');
	return {
		data,
		run,
		config: config ?? env['MVM_CONFIG'] ?? join(data, 'mvm.toml'),
		admin,
		adminSocket: join(admin, 'mvm.sock'),
		hostdSocket: join(admin, 'hostd.sock'),
		postgresData: join(data, 'postgres'),
		postgresSocketDir: join(run, 'pg'),
		blobs: join(data, 'blobs'),
		keys: join(data, 'keys'),
		dist: join(data, 'dist'),
		codeCache: { hostd: join(data, 'cache/hostd'), daemon: join(data, 'cache/daemon') },
		logs: join(data, 'logs'),
		pidFile: join(admin, 'up.json'),
	};
}
