// The swap file that hibernation needs: made under the data directory when this is root and no swap is on, found again
// after a restart, taken off on `mvm down`. Called by hostd only. Swap that is not ours is never touched.
import { spawn } from 'node:child_process';
import { mkdir, open, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Condition, MvmError } from '@mvm/protocol';
import { isEncrypted } from './swap-encryption.ts';
import { decodeProcPath } from './swap-proc.ts';
import { applySwitches, readSwitches, restoreSwitches, type SwapSwitches, type SwitchState } from './swap-switches.ts';

export interface SwapConfig {
	readonly dataDir: string;
	/** Size of a file that is made here; 0 means: make none. */
	readonly sizeMib: number;
	readonly switches: SwapSwitches;
	/** Where /proc and /sys are; only tests change it. */
	readonly systemRoot?: string;
}

/** One line of /proc/swaps. */
export interface SwapArea {
	readonly path: string;
	readonly totalBytes: number;
	readonly usedBytes: number;
	readonly ours: boolean;
}

/** What `mvm doctor` shows. */
export interface SwapStatus {
	/** `managed`: our file is on. `foreign`: others' swap is on, we made none. */
	readonly state: 'managed' | 'foreign' | 'none';
	readonly areas: readonly SwapArea[];
	readonly totalBytes: number;
	readonly freeBytes: number;
	readonly switches: readonly SwitchState[];
	/** Bytes that zswap's pool holds in memory and the bytes it stands for; no instance is charged for the pool. */
	readonly zswap: { readonly poolBytes: number; readonly storedBytes: number };
	readonly conditions: readonly Condition[];
}

export interface Swap {
	/** Turns the managed file on when no swap is; adopts it when it is on already. Never throws for want of swap: see the conditions. */
	ensure(options: { readonly signal: AbortSignal }): Promise<SwapStatus>;
	status(): Promise<SwapStatus>;
	/** Takes our own file off and removes it. Rejects with CONFLICT when memory cannot take back what is in it. */
	release(options: { readonly signal: AbortSignal }): Promise<SwapStatus>;
	/** Puts the host-wide switches back as they were before us. Part of `release`. */
	restoreSwitches(): Promise<readonly SwitchState[]>;
}

/** Free disk space that must remain after the file was made. */
const DISK_MARGIN_BYTES = 512 * 2 ** 20;
const MIB = 2 ** 20;

/** Manages one swap file at `<dataDir>/swap/hibernate.swap`. Does nothing until asked. */
export function makeSwap(config: SwapConfig): Swap {
	const systemRoot = config.systemRoot ?? '/';
	const directory = join(config.dataDir, 'swap');
	const file = join(directory, 'hibernate.swap');
	let trouble: Condition | undefined;

	const areas = async (): Promise<SwapArea[]> => {
		const text = await readFile(join(systemRoot, 'proc/swaps'), 'utf8').catch(() => '');
		const own = await realPathOf(file);
		return parseSwaps(text).map((area) => ({ ...area, ours: area.path === own }));
	};

	const status = async (): Promise<SwapStatus> => {
		const on = await areas();
		const info = await readMeminfo(systemRoot);
		const state = on.some((area) => area.ours) ? 'managed' : on.length > 0 ? 'foreign' : 'none';
		return {
			state,
			areas: on,
			totalBytes: info('SwapTotal'),
			freeBytes: info('SwapFree'),
			switches: await readSwitches(systemRoot, directory),
			zswap: { poolBytes: info('Zswap'), storedBytes: info('Zswapped') },
			conditions: [available(state, trouble), await encryption(on, systemRoot)].filter((c) => c !== undefined),
		};
	};

	const turnOn = async (signal: AbortSignal): Promise<void> => {
		const size = config.sizeMib * MIB;
		await mkdir(directory, { recursive: true, mode: 0o700 });
		await rm(`${file}.new`, { force: true });
		if (!(await isOurSwapFile(file, size))) {
			const disk = await statfs(directory);
			const room = disk.bavail * disk.bsize + (await sizeOf(file));
			if (room < size + DISK_MARGIN_BYTES)
				throw new MvmError('DISK_FULL', `a swap file of ${config.sizeMib} MiB needs more disk than is free`, {
					details: { needed_bytes: size + DISK_MARGIN_BYTES, free_bytes: room },
				});
			await rm(file, { force: true });
			await makeFile(`${file}.new`, size, signal);
			await rename(`${file}.new`, file);
		}
		await run('swapon', [file], signal);
	};

	return {
		status,
		async ensure({ signal }) {
			trouble = undefined;
			if ((await areas()).length === 0) {
				trouble = config.sizeMib === 0 ? OFF : process.getuid?.() === 0 ? undefined : NOT_ROOT;
				try {
					if (trouble === undefined) await turnOn(signal);
				} catch (error) {
					signal.throwIfAborted();
					// Without swap the platform still works (sleep is cold), so this is a condition and not an error.
					trouble = failed(error);
					await rm(`${file}.new`, { force: true });
					await rm(file, { force: true });
				}
			}
			await applySwitches(systemRoot, directory, config.switches);
			return status();
		},
		async release({ signal }) {
			await restoreSwitches(systemRoot, directory);
			if ((await areas()).some((area) => area.ours)) {
				try {
					await run('swapoff', [file], signal);
				} catch (cause) {
					throw new MvmError('CONFLICT', 'the managed swap file cannot be taken off while memory is in it', {
						hint: 'stop the sleeping instances first',
						cause,
					});
				}
			}
			await rm(file, { force: true });
			trouble = OFF;
			return status();
		},
		restoreSwitches: () => restoreSwitches(systemRoot, directory),
	};
}

/** The areas of a /proc/swaps text; paths decoded. */
export function parseSwaps(text: string): Omit<SwapArea, 'ours'>[] {
	return text
		.split('\n')
		.slice(1)
		.filter((line) => line.trim() !== '')
		.map((line) => {
			const [path = '', , size = '0', used = '0'] = line.split(/\s+/);
			return { path: decodeProcPath(path), totalBytes: Number(size) * 1024, usedBytes: Number(used) * 1024 };
		});
}

/** A file of the size, with the mode, owner and signature that we give it. Anything else is made anew. */
async function isOurSwapFile(path: string, size: number): Promise<boolean> {
	try {
		await using handle = await open(path, 'r');
		const facts = await handle.stat();
		if (!facts.isFile() || facts.size !== size || facts.uid !== 0 || (facts.mode & 0o777) !== 0o600) return false;
		const magic = Buffer.alloc(10);
		await handle.read(magic, 0, magic.length, 4096 - magic.length);
		return magic.toString('latin1') === 'SWAPSPACE2';
	} catch {
		return false;
	}
}

/** Allocated without holes (a swap file may have none) and readable by root only before the first byte is in it. */
async function makeFile(path: string, size: number, signal: AbortSignal): Promise<void> {
	await (await open(path, 'wx', 0o600)).close();
	await run('fallocate', ['--length', String(size), path], signal);
	await run('mkswap', ['--label', 'mvm', path], signal);
	await using handle = await open(path, 'r+');
	await handle.sync();
}

/** Runs a system tool to its end; rejects with its last line of complaint. */
async function run(command: string, args: readonly string[], signal: AbortSignal): Promise<void> {
	const child = spawn(command, args, {
		stdio: ['ignore', 'ignore', 'pipe'],
		env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
		signal,
	});
	let complaint = '';
	child.stderr.on('data', (chunk: Buffer) => {
		complaint = (complaint + chunk.toString('utf8')).slice(-2000);
	});
	const code = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done));
	if (code !== 0) throw new Error(complaint.trim().split('\n').at(-1) || `${command} ended with code ${code}`);
}

/** The path as the kernel names it; the file itself may not be there. */
async function realPathOf(file: string): Promise<string> {
	const { realpath } = await import('node:fs/promises');
	return realpath(dirname(file)).then(
		(directory) => join(directory, 'hibernate.swap'),
		() => file,
	);
}

const sizeOf = (path: string): Promise<number> =>
	stat(path).then(
		(facts) => facts.blocks * 512,
		() => 0,
	);

async function readMeminfo(systemRoot: string): Promise<(key: string) => number> {
	const text = await readFile(join(systemRoot, 'proc/meminfo'), 'utf8').catch(() => '');
	return (key) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}

const noSwap = (reason: string, message: string): Condition => ({ type: 'SwapAvailable', status: false, reason, message });
const OFF = noSwap('SwapOff', 'no swap is on and none is wanted here: instances sleep cold');
const NOT_ROOT = noSwap('NotRoot', 'no swap is on, and only root can make a swap file: instances sleep cold');

function available(state: SwapStatus['state'], trouble: Condition | undefined): Condition {
	if (state === 'none') return trouble ?? OFF;
	const message = state === 'managed' ? 'the managed swap file is on' : 'swap of this host is on; mvm made none of its own';
	return { type: 'SwapAvailable', status: true, reason: state === 'managed' ? 'Managed' : 'Foreign', message };
}

function failed(error: unknown): Condition {
	const why = error instanceof Error ? error.message : String(error);
	return noSwap('SwapFileRefused', `no swap file could be made here (${why}): instances sleep cold`);
}

async function encryption(areas: readonly SwapArea[], systemRoot: string): Promise<Condition | undefined> {
	for (const area of areas) {
		if (await isEncrypted(area.path, systemRoot)) continue;
		return {
			type: 'MemoryAtRestUnencrypted',
			status: true,
			reason: 'SwapDeviceNotEncrypted',
			message: `memory of sleeping instances is written in the clear to ${area.path}`,
		};
	}
	return undefined;
}
