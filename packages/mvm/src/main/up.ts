// `mvm up` and `mvm down`: the minimal supervisor. Makes users and folders, stages what other users must be able to run, starts
// hostd and the daemon, restarts them when they die, and on SIGINT or SIGTERM puts everything to rest. Serves nothing itself.
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { MvmError } from '@mvm/protocol';
import { pino } from 'pino';
import { systemClock } from '../drivers/clock/system.ts';
import { parseConfig } from '../platform/config.ts';
import { makeLogger } from '../platform/logger.ts';
import { type Paths, resolvePaths } from '../platform/paths.ts';

export { doctor } from './doctor.ts';

import { makeFolders } from './folders.ts';
import { npmEnvironment, withNpmFolder } from './npm-environment.ts';
import { KeptProcess } from './processes.ts';
import { readConfig } from './read-config.ts';
import { stage } from './stage.ts';
import { readSupervisorPid, removeSupervisorPid, writeSupervisorPid } from './supervisor-pid.ts';
import { ensureDaemonUser } from './system-user.ts';

export interface UpOptions {
	readonly dataDir?: string;
	readonly runDir?: string;
	readonly config?: string;
	readonly listen?: string;
	/** Words for people; one line each. */
	readonly say: (line: string) => void;
}

/** Much of what the daemon allocates dies with its request. With V8's own 16 MB of young space it held 240 MB after a load, so 130. */
const YOUNG_SPACE = '--max-semi-space-size=4';
const READY_MS = 120_000;
/** Long enough for the longest drain of an OpenClaw gateway (330 s). */
const REST_MS = 420_000;
const HOSTD_STOP_MS = 60_000;
/** A process that ends this often before the platform was ever ready will not get better by itself. */
const GIVE_UP_AFTER = 8;

/** Resolves when the platform was asked to stop and everything is at rest. Throws what kept it from becoming ready. */
export async function up(options: UpOptions): Promise<void> {
	const uid = process.getuid?.() ?? 0;
	const paths = resolvePaths({ uid, env: process.env, ...options });
	const other = readSupervisorPid(paths.pidFile);
	if (other !== undefined) {
		throw new MvmError('CONFLICT', `mvm is already up in ${paths.run} (pid ${other})`, { hint: 'mvm down stops it' });
	}
	parseConfig(readConfig(paths.config), options); // every problem of the file before anything is touched
	const me = { uid, gid: process.getgid?.() ?? 0 };
	const daemonUser = uid === 0 ? ensureDaemonUser() : me;
	makeFolders(paths, me, daemonUser);
	options.say('staging the program files');
	const { root, node } = await stage({ distDir: paths.dist });
	const destination = pino.destination({ dest: join(paths.logs, 'supervisor.log'), sync: true });
	const log = makeLogger({ service: 'supervisor', level: 'info', destination });
	const entry = (name: string): string => join(root, 'packages/mvm/src/main', name);
	const folders = ['--data-dir', paths.data, '--run-dir', paths.run, '--config', paths.config] as const;
	const env = cleanEnv(paths);
	const ids = ['--daemon-uid', String(daemonUser.uid), '--daemon-gid', String(daemonUser.gid)] as const;
	const hostd = new KeptProcess(
		{
			name: 'hostd',
			argv: [node, entry('hostd.js'), ...folders, ...ids, '--dist', root],
			// A page-out holds a thread of the pool for seconds; several must not keep a wake's file access waiting.
			env: { ...env, NODE_COMPILE_CACHE: paths.codeCache.hostd, UV_THREADPOOL_SIZE: '16' },
			logFile: join(paths.logs, 'hostd.log'),
		},
		log,
	);
	const listen = options.listen ?? process.env['MVM_LISTEN'];
	const daemon = new KeptProcess(
		{
			name: 'daemon',
			argv: [node, YOUNG_SPACE, entry('daemon.js'), ...folders, ...(listen === undefined ? [] : ['--listen', listen])],
			...(uid === 0 ? { user: daemonUser } : {}),
			env: { ...env, NODE_COMPILE_CACHE: paths.codeCache.daemon, ...passOn('MVM_DATABASE_URL') },
			logFile: join(paths.logs, 'daemon.log'),
		},
		log,
	);
	const stopped = stopSignal();
	writeSupervisorPid(paths.pidFile);
	options.say('starting the platform');
	hostd.start();
	daemon.start();
	try {
		const ready = await Promise.race([waitReady(paths, [hostd, daemon]), stopped.then(() => false)]);
		if (ready) options.say(`ready: admin socket ${paths.adminSocket}, logs ${paths.logs}`);
		await stopped;
		options.say('stopping: putting instances to rest');
	} finally {
		await daemon.stop(REST_MS);
		await hostd.stop(HOSTD_STOP_MS);
		removeSupervisorPid(paths.pidFile);
	}
	options.say('stopped');
}

/** Asks the supervisor of these folders to stop and waits until it has. False when none was running. */
export async function down(options: {
	readonly dataDir?: string;
	readonly runDir?: string;
	readonly say: (line: string) => void;
}): Promise<boolean> {
	const paths = resolvePaths({ uid: process.getuid?.() ?? 0, env: process.env, ...options });
	const running = readSupervisorPid(paths.pidFile);
	if (running === undefined) return false;
	process.kill(running, 'SIGTERM');
	options.say('stopping: putting instances to rest');
	const deadline = AbortSignal.timeout(REST_MS + HOSTD_STOP_MS);
	while (readSupervisorPid(paths.pidFile) !== undefined) await systemClock.sleep(100, { signal: deadline });
	return true;
}

/** Nothing of the caller's environment reaches the platform but what is named here. */
function cleanEnv(paths: Paths): Record<string, string> {
	return {
		PATH: withNpmFolder('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', process.env, existsSync),
		HOME: paths.data,
		LANG: 'C.UTF-8',
		...npmEnvironment(process.env, existsSync),
	};
}

function passOn(name: string): Record<string, string> {
	const value = process.env[name];
	return value === undefined ? {} : { [name]: value };
}

function stopSignal(): Promise<void> {
	return new Promise((resolve) => {
		for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
	});
}

async function waitReady(paths: Paths, processes: readonly KeptProcess[]): Promise<boolean> {
	const deadline = AbortSignal.timeout(READY_MS);
	while (!(await isReady(paths.adminSocket))) {
		if (deadline.aborted || processes.some((p) => p.failures >= GIVE_UP_AFTER)) {
			throw new MvmError('NOT_READY', 'the platform did not become ready', { hint: `the reason stands in ${paths.logs}` });
		}
		await systemClock.sleep(50, { signal: AbortSignal.timeout(READY_MS) });
	}
	return true;
}

function isReady(socketPath: string): Promise<boolean> {
	return new Promise((resolve) => {
		const probe = request({ socketPath, path: '/readyz', timeout: 2000 }, (answer) => {
			answer.resume();
			resolve(answer.statusCode === 200);
		});
		probe.on('error', () => resolve(false));
		probe.on('timeout', () => probe.destroy());
		probe.end();
	});
}
