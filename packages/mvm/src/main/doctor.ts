// `mvm doctor` without a running platform: what this host has and lacks, found by trying it once. Changes nothing that stays.
import { accessSync, constants, statfsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { type DoctorReport, isMvmError } from '@mvm/protocol';
import { systemClock } from '../drivers/clock/system.ts';
import { probeHost } from '../drivers/runtime/process/probe.ts';
import { parseConfig } from '../platform/config.ts';
import { resolvePaths } from '../platform/paths.ts';
import { readConfig } from './read-config.ts';
import { swapTotalBytes } from './swap-total.ts';

type Check = DoctorReport['checks'][number];

const PROBE_MS = 20_000;
const LITTLE_DISK_BYTES = 2 * 1024 ** 3;
const TOOLS = [
	{ command: 'bwrap', package: 'bubblewrap', level: 'fail' },
	{ command: 'setpriv', package: 'util-linux', level: 'fail' },
	{ command: 'mkfs.ext4', package: 'e2fsprogs', level: 'warn' },
	{ command: 'mkswap', package: 'util-linux', level: 'warn' },
] as const;

export async function doctor(options: {
	readonly dataDir?: string;
	readonly runDir?: string;
	readonly config?: string;
}): Promise<DoctorReport> {
	const uid = process.getuid?.() ?? 0;
	const paths = resolvePaths({ uid, env: process.env, ...options });
	const checks: Check[] = [
		{ name: 'platform', level: 'warn', message: `not up in ${paths.run}`, fix: 'mvm up starts it' },
		{ name: 'node', level: 'ok', message: process.version, fix: null },
		...TOOLS.map(tool),
		configCheck(paths.config),
		diskCheck(paths.data),
		swapCheck(uid === 0),
		...(await sandboxChecks(uid)),
	];
	return { ok: checks.every((check) => check.level !== 'fail'), checks };
}

function tool({ command, package: name, level }: (typeof TOOLS)[number]): Check {
	const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
	const found = folders.some((folder) => {
		try {
			accessSync(join(folder, command), constants.X_OK);
			return true;
		} catch {
			return false;
		}
	});
	if (found) return { name: command, level: 'ok', message: 'found', fix: null };
	return { name: command, level, message: 'not found', fix: `apt-get install -y --no-install-recommends ${name}` };
}

function configCheck(path: string): Check {
	try {
		parseConfig(readConfig(path));
		return { name: 'configuration', level: 'ok', message: path, fix: null };
	} catch (error) {
		const message = error instanceof Error ? error.message : String(error);
		return { name: 'configuration', level: 'fail', message, fix: isMvmError(error) ? (error.hint ?? null) : null };
	}
}

function diskCheck(dataDir: string): Check {
	let folder = dataDir;
	for (;;) {
		try {
			const { bavail, bsize } = statfsSync(folder);
			const free = bavail * bsize;
			const message = `${Math.round(free / 1024 ** 2)} MiB free below ${folder}`;
			const isLittle = free < LITTLE_DISK_BYTES;
			return { name: 'disk', level: isLittle ? 'warn' : 'ok', message, fix: isLittle ? 'make room, or set MVM_DATA_DIR' : null };
		} catch (error) {
			if (dirname(folder) === folder) throw error;
			folder = dirname(folder); // not made yet: the file system of its parent counts
		}
	}
}

function swapCheck(isRoot: boolean): Check {
	const total = swapTotalBytes();
	if (total > 0) return { name: 'swap', level: 'ok', message: `${Math.round(total / 1024 ** 2)} MiB`, fix: null };
	return isRoot
		? { name: 'swap', level: 'ok', message: 'none: mvm up makes a swap file of its own', fix: null }
		: {
				name: 'swap',
				level: 'warn',
				message: 'none: sleeping instances resume cold',
				fix: 'run mvm up as root, or have swap turned on',
			};
}

/** Makes a sandbox and looks at the control groups; a host that cannot make one fails here, with what to do. */
async function sandboxChecks(uid: number): Promise<Check[]> {
	const signal = AbortSignal.timeout(PROBE_MS);
	try {
		const { conditions, cgroups } = await probeHost(systemClock, { uid, cgroupParent: `mvm-doctor-${process.pid}`, signal });
		cgroups?.removeParents();
		return [
			{ name: 'sandbox', level: 'ok', message: 'bubblewrap makes one', fix: null },
			...conditions.map((c): Check => ({ name: c.type, level: 'warn', message: c.message, fix: null })),
		];
	} catch (error) {
		const message = error instanceof Error ? error.message : String(error);
		return [{ name: 'sandbox', level: 'fail', message, fix: isMvmError(error) ? (error.hint ?? null) : null }];
	}
}
