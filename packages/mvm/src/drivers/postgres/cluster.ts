// Makes a new data directory and starts the server on one: the exact arguments, users and files. Called by embedded.ts.
import { type ChildProcess, spawn } from 'node:child_process';
import {
	chownSync,
	closeSync,
	existsSync,
	mkdirSync,
	openSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { MvmError } from '@mvm/protocol';
import type { PostgresBinaries } from './binaries.ts';

/** Who the server runs as. Needed exactly when this process is root, which Postgres refuses to be. */
export interface ServerUser {
	readonly uid: number;
	readonly gid: number;
}

export interface ClusterOptions {
	readonly binaries: PostgresBinaries;
	readonly dataDir: string;
	/** Short: socket paths end at 107 bytes. Made with mode 0700; that mode is the access check. */
	readonly socketDir: string;
	readonly logFile: string;
	readonly user?: ServerUser | undefined;
	/** Server settings over the defaults below. */
	readonly settings?: Readonly<Record<string, string>> | undefined;
	/** Ends the server when this process dies, however it dies (tests). Otherwise it lives on and is adopted. */
	readonly dieWithParent?: boolean | undefined;
}

/** The bootstrap superuser of every embedded cluster; used to make roles and databases only. */
export const SUPERUSER = 'mvm_super';

const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' } as const;
const MAX_LOG_BYTES = 8 * 1024 * 1024;

/** No TCP, durable, small. Statement texts and row details stay out of the log: they are the tenants'. */
const SETTINGS: Readonly<Record<string, string>> = {
	listen_addresses: '',
	unix_socket_permissions: '0700',
	fsync: 'on',
	synchronous_commit: 'on',
	full_page_writes: 'on',
	jit: 'off',
	shared_buffers: '64MB',
	max_connections: '100',
	max_wal_size: '1GB',
	io_workers: '1',
	max_parallel_workers_per_gather: '0',
	autovacuum_max_workers: '2',
	log_min_error_statement: 'panic',
	log_error_verbosity: 'terse',
	log_checkpoints: 'off',
	log_timezone: 'UTC',
	timezone: 'UTC',
};

/** Throws HOST_UNSUPPORTED when this process is root and no other user is named, or the socket path is too long. */
export function checkCluster(options: ClusterOptions): void {
	if (process.getuid?.() === 0 && (options.user === undefined || options.user.uid === 0)) {
		throw new MvmError('HOST_UNSUPPORTED', 'the embedded database server does not run as root', {
			hint: 'start the platform with `mvm up`, which runs the daemon as the system user mvm, or set MVM_DATABASE_URL',
		});
	}
	const socket = join(options.socketDir, '.s.PGSQL.5432');
	if (Buffer.byteLength(socket) > 107) {
		throw new MvmError('HOST_UNSUPPORTED', `the database socket's path is longer than 107 bytes: ${socket}`, {
			hint: 'choose a shorter MVM_RUN_DIR',
		});
	}
}

/** Makes the data directory unless it is there; complete or not at all. Throws HOST_UNSUPPORTED for one of another version. */
export async function ensureCluster(options: ClusterOptions): Promise<void> {
	const { binaries, dataDir, user } = options;
	const versionFile = join(dataDir, 'PG_VERSION');
	if (existsSync(versionFile)) {
		const found = readFileSync(versionFile, 'utf8').trim();
		const ours = await serverMajor(options);
		if (found === ours) return;
		throw new MvmError('HOST_UNSUPPORTED', `the database directory is of Postgres ${found}, the server is ${ours}`, {
			details: { data_dir: dataDir, found, server: ours },
			hint: 'start the mvm version that wrote it, dump the database there, and load it into a new directory',
		});
	}
	const fresh = `${dataDir}.new`;
	rmSync(fresh, { recursive: true, force: true });
	makeFolder(dirname(dataDir), undefined, 0o755);
	makeFolder(fresh, user, 0o700);
	const args = [
		'-D',
		fresh,
		'-U',
		SUPERUSER,
		'-E',
		'UTF8',
		'--locale-provider=builtin',
		'--locale=C.UTF-8',
		'-A',
		'trust',
		'--no-instructions',
	];
	const { code, output } = await run(binaries.initdb, args, user);
	if (code !== 0) {
		rmSync(fresh, { recursive: true, force: true });
		const isFull = /No space left on device/.test(output);
		throw new MvmError(isFull ? 'DISK_FULL' : 'STORE_UNAVAILABLE', 'the database directory could not be made', {
			details: { data_dir: dataDir, exit_code: code, output: output.slice(-2_000) },
		});
	}
	// No network lines at all: whoever reaches the 0700 socket folder is the server's own user.
	writeFileSync(join(fresh, 'pg_hba.conf'), 'local all all trust\n');
	rmSync(dataDir, { recursive: true, force: true });
	renameSync(fresh, dataDir);
}

/** Starts the server detached, in a process group of its own, logging to its file. Does not wait for it to answer. */
export function spawnServer(options: ClusterOptions): ChildProcess {
	const { binaries, dataDir, socketDir, logFile, user, settings, dieWithParent = false } = options;
	makeFolder(socketDir, user, 0o700);
	const args = ['-D', dataDir];
	for (const [name, value] of Object.entries({ ...SETTINGS, ...settings, unix_socket_directories: socketDir }))
		args.push('-c', `${name}=${value}`);
	const log = openLog(logFile);
	try {
		const stdio = ['ignore' as const, log, log];
		if (!dieWithParent) {
			return spawn(binaries.postgres, args, { ...user, cwd: '/', detached: true, stdio, env: ENVIRONMENT });
		}
		// A change of user clears the death signal, so setpriv does both, in its own order.
		const asUser = user === undefined ? [] : ['--reuid', `${user.uid}`, '--regid', `${user.gid}`, '--clear-groups'];
		return spawn('setpriv', [...asUser, '--pdeathsig', 'INT', binaries.postgres, ...args], {
			cwd: '/',
			detached: true,
			stdio,
			env: ENVIRONMENT,
		});
	} finally {
		closeSync(log);
	}
}

async function serverMajor({ binaries, user }: ClusterOptions): Promise<string> {
	const { output } = await run(binaries.postgres, ['--version'], user);
	return /(\d+)(?:\.|beta|rc|devel|\s|$)/.exec(output.replace(/^.*\)\s*/, ''))?.[1] ?? output.trim();
}

function makeFolder(path: string, user: ServerUser | undefined, mode: number): void {
	const made = mkdirSync(path, { recursive: true, mode });
	if (made !== undefined && user !== undefined && process.getuid?.() === 0) chownSync(path, user.uid, user.gid);
}

/** Appends; one old file is kept. */
function openLog(path: string): number {
	mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
	if (existsSync(path) && statSync(path).size > MAX_LOG_BYTES) renameSync(path, `${path}.1`);
	return openSync(path, 'a', 0o600);
}

function run(command: string, args: readonly string[], user: ServerUser | undefined): Promise<{ code: number; output: string }> {
	return new Promise((resolve, reject) => {
		const child = spawn(command, args, { ...user, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], env: ENVIRONMENT });
		let output = '';
		child.stdout.on('data', (chunk: Buffer) => {
			output += chunk.toString();
		});
		child.stderr.on('data', (chunk: Buffer) => {
			output += chunk.toString();
		});
		child.on('error', reject);
		child.on('close', (code) => resolve({ code: code ?? 1, output }));
	});
}
