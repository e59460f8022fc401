// Runs npm for an image build where it can do no harm: bubblewrap, a user of its own without rights, a cleared environment,
// one writable folder and the network. Called by npm-install.ts. Install scripts of packages run in here too.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import { isDead, readStat } from '../process/process-table.ts';
import { TOOL_ENV } from '../process/run-tool.ts';
import type { HostNpm } from './npm-host.ts';

/** Host user of builds as root: below every instance's range (200000 and up) and nobody's. */
export const BUILD_UID = 199_999;
/** Where the build folder and the tools show inside. */
export const BUILD_DIR = '/build';
const TOOLS_DIR = '/opt/mvm-build';
const KEPT_LINES = 40;
const MAX_LINE = 500;
const TIME_LIMIT_MS = 15 * 60_000;
const BEAT_MS = 3_000;
const POLL_MS = 2;
const END_TIMEOUT_MS = 30_000;
/** Where bubblewrap writes its report. */
const INFO_FD = 3;

export interface NpmSandbox {
	/** Node that runs npm, and npm's package; readable by the build user. */
	readonly nodePath: string;
	readonly npm: HostNpm;
	/** The one writable folder; belongs to the build user. */
	readonly buildDir: string;
	readonly clock: Clock;
	readonly onProgress: (line: string) => void;
	readonly signal: AbortSignal;
	/** For tests. */
	readonly timeLimitMs?: number;
}

/** Runs `npm <args>` in `<build>/<folder>`. Throws IMAGE_BUILD_FAILED with npm's last lines, also when the time is up. */
export async function runNpm(sandbox: NpmSandbox, folder: string, args: readonly string[], what: string): Promise<void> {
	const limit = AbortSignal.timeout(sandbox.timeLimitMs ?? TIME_LIMIT_MS);
	const argv = sandboxArgv(sandbox, [`${TOOLS_DIR}/node`, `${TOOLS_DIR}/npm/bin/npm-cli.js`, ...args], folder);
	const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], env: TOOL_ENV });
	const init = readInit(child.stdio[3] as Readable);
	const signal = AbortSignal.any([sandbox.signal, limit]);
	// The pid namespace dies with its init, so this takes every install script with it.
	const kill = (): void => void child.kill('SIGKILL');
	signal.addEventListener('abort', kill, { once: true });
	if (signal.aborted) kill();
	const ended = Promise.withResolvers<number | null>();
	child.once('close', ended.resolve).once('error', ended.reject);
	const log = new NpmLog(sandbox, what);
	for (const stream of [child.stdout as Readable, child.stderr as Readable])
		createInterface({ input: stream }).on('line', (line) => log.take(line));
	const beat = log.start();
	try {
		const code = await ended.promise;
		// The monitor may go first: files are only safe to touch when the last process of the namespace is gone.
		const pid = await init;
		while (pid !== undefined && isAlive(pid)) await sandbox.clock.sleep(POLL_MS, { signal: AbortSignal.timeout(END_TIMEOUT_MS) });
		sandbox.signal.throwIfAborted();
		if (code === 0) return;
		const why = limit.aborted ? 'the time for it is up' : (log.cause() ?? `npm ended with code ${code ?? 'SIGKILL'}`);
		throw new MvmError('IMAGE_BUILD_FAILED', `${what} failed: ${why}`, {
			details: { step: what, exit: code, last_lines: log.last },
			hint: 'the last lines of npm are in the details',
		});
	} finally {
		beat();
		signal.removeEventListener('abort', kill);
	}
}

/** Host pid of the sandbox's init from bubblewrap's report; undefined when it never got that far. */
async function readInit(report: Readable): Promise<number | undefined> {
	let text = '';
	for await (const chunk of report) text += String(chunk);
	const pid = Number(/"child-pid":\s*(\d+)/.exec(text)?.[1]);
	return Number.isInteger(pid) ? pid : undefined;
}

/** The init of a pid namespace becomes a zombie only after everything in it has died. */
function isAlive(pid: number): boolean {
	const stat = readStat(pid);
	return stat !== undefined && !isDead(stat);
}

/** What npm says: counted while it goes well, kept for the error when it does not. */
class NpmLog {
	readonly last: string[] = [];
	readonly #sandbox: NpmSandbox;
	readonly #what: string;
	#fetched = 0;

	constructor(sandbox: NpmSandbox, what: string) {
		this.#sandbox = sandbox;
		this.#what = what;
	}

	take(raw: string): void {
		const line = raw.slice(0, MAX_LINE).trimEnd();
		if (line === '') return;
		if (/^npm http (fetch|cache) /.test(line)) {
			this.#fetched += 1;
			return;
		}
		if (/^npm error A complete log of this run/i.test(line)) return; // it goes with the build folder
		this.last.push(line);
		if (this.last.length > KEPT_LINES) this.last.shift();
		// Advice that is npm's own business is kept for the error and not shown.
		if (!/^npm (warn|notice|info|http|verbose|error)\b/i.test(line)) this.#sandbox.onProgress(`${this.#what}: ${line}`);
	}

	/** npm's own first sentence about what went wrong. */
	cause(): string | undefined {
		const errors = this.last.filter((line) => /^npm error /i.test(line)).map((line) => line.replace(/^npm error /i, ''));
		const said = errors.find((line) => !/^(code|errno|syscall|path)\b/.test(line)) ?? errors[0];
		return said?.replace(/^(notarget|404|network|enoent|eresolve)\s+/i, '');
	}

	/** A line every few seconds, because npm is silent for as long as it works. */
	start(): () => void {
		const { clock, onProgress } = this.#sandbox;
		const startedAt = clock.monotonic();
		let cancel = (): void => {};
		const beat = (): void => {
			const seconds = Math.round((clock.monotonic() - startedAt) / 1000);
			onProgress(`${this.#what}: ${seconds} s, ${this.#fetched} requests`);
			cancel = clock.after(BEAT_MS, beat);
		};
		cancel = clock.after(BEAT_MS, beat);
		return () => cancel();
	}
}

function sandboxArgv(sandbox: NpmSandbox, command: readonly string[], folder: string): string[] {
	const id = String(BUILD_UID);
	const asBuildUser = [
		'setpriv',
		'--reuid',
		id,
		'--regid',
		id,
		'--clear-groups',
		'--inh-caps=-all',
		'--bounding-set=-all',
		'--no-new-privs',
	];
	const readOnly = (path: string, at = path): string[] => ['--ro-bind-try', path, at];
	const { npm } = sandbox;
	const config: Record<string, string> = {
		...npm.settings,
		...(npm.cafile === undefined ? {} : { cafile: `${TOOLS_DIR}/ca.pem` }),
		cache: `${BUILD_DIR}/cache`,
		audit: 'false',
		fund: 'false',
		'update-notifier': 'false',
		progress: 'false',
		loglevel: 'http',
		'engine-strict': 'false',
	};
	return [
		...(process.getuid?.() === 0 ? asBuildUser : []),
		'bwrap',
		'--info-fd',
		String(INFO_FD),
		...[
			'--unshare-all',
			'--share-net',
			'--die-with-parent',
			'--new-session',
			'--uid',
			'1000',
			'--gid',
			'1000',
			'--hostname',
			'build',
		],
		...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/bin', '/bin', '--symlink', 'usr/sbin', '/sbin'],
		...['--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
		...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'],
		...['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf', '/etc/ssl/certs', '/etc/alternatives'].flatMap((path) =>
			readOnly(path),
		),
		...['--ro-bind', sandbox.nodePath, `${TOOLS_DIR}/node`, '--ro-bind', npm.packageDir, `${TOOLS_DIR}/npm`],
		...(npm.cafile === undefined ? [] : ['--ro-bind', npm.cafile, `${TOOLS_DIR}/ca.pem`]),
		...['--bind', sandbox.buildDir, BUILD_DIR, '--remount-ro', '/', '--chdir', `${BUILD_DIR}/${folder}`, '--clearenv'],
		...['--setenv', 'PATH', `${TOOLS_DIR}:/usr/bin:/bin`, '--setenv', 'HOME', `${BUILD_DIR}/home`, '--setenv', 'LANG', 'C.UTF-8'],
		...(npm.cafile === undefined ? [] : ['--setenv', 'NODE_EXTRA_CA_CERTS', `${TOOLS_DIR}/ca.pem`]),
		...Object.entries(config).flatMap(([key, value]) => ['--setenv', settingName(key), value]),
		'--',
		...command,
	];
}

/** npm reads settings from the environment; scoped registries keep their name as it is. */
function settingName(key: string): string {
	return `npm_config_${key.startsWith('@') ? key : key.replace(/-/g, '_')}`;
}
