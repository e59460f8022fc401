// The host-wide switches that make hibernation faster (zswap, vm.page-cluster): opt-in, with the values found before
// written durably before anything is changed, and put back by restoreSwitches. Called by swap.ts only.
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What the operator opted into; an absent one is never touched. */
export interface SwapSwitches {
	readonly zswap?: boolean | undefined;
	/** 0 to 10: pages read around a fault, as a power of two. */
	readonly pageCluster?: number | undefined;
}

export interface SwitchState {
	readonly name: 'zswap' | 'page_cluster';
	/** As the kernel shows it now; absent when this kernel does not have it. */
	readonly current?: string;
	/** What it was before mvm changed it; absent when mvm did not. */
	readonly before?: string;
}

interface Recorded {
	readonly bootId: string;
	readonly switches: Record<string, { readonly before: string; readonly set: string }>;
}

const FILES: Record<SwitchState['name'], string> = {
	zswap: 'sys/module/zswap/parameters/enabled',
	page_cluster: 'proc/sys/vm/page-cluster',
};
const NAMES = Object.keys(FILES) as SwitchState['name'][];

/** Sets what was opted into. The value before is on disk (fsync) before the switch moves, and is never overwritten by a second call. */
export async function applySwitches(systemRoot: string, directory: string, wanted: SwapSwitches): Promise<void> {
	const recorded = await readRecord(systemRoot, directory);
	const target: Partial<Record<SwitchState['name'], string>> = {
		...(wanted.zswap === undefined ? {} : { zswap: wanted.zswap ? 'Y' : 'N' }),
		...(wanted.pageCluster === undefined ? {} : { page_cluster: String(wanted.pageCluster) }),
	};
	for (const name of NAMES) {
		const set = target[name];
		const current = await readSwitch(systemRoot, name);
		if (set === undefined || current === undefined || current === set) continue;
		const before = recorded.switches[name]?.before ?? current;
		recorded.switches[name] = { before, set };
		await writeRecord(directory, recorded);
		await writeFile(join(systemRoot, FILES[name]), set);
	}
}

/** Puts back what was changed, unless somebody else has changed it since. Idempotent; safe after a crash at any point. */
export async function restoreSwitches(systemRoot: string, directory: string): Promise<readonly SwitchState[]> {
	const recorded = await readRecord(systemRoot, directory);
	for (const name of NAMES) {
		const entry = recorded.switches[name];
		if (entry !== undefined && (await readSwitch(systemRoot, name)) === entry.set)
			await writeFile(join(systemRoot, FILES[name]), entry.before);
	}
	await rm(recordPath(directory), { force: true });
	return readSwitches(systemRoot, directory);
}

/** What the switches are now and were before us. */
export async function readSwitches(systemRoot: string, directory: string): Promise<readonly SwitchState[]> {
	const recorded = await readRecord(systemRoot, directory);
	return Promise.all(
		NAMES.map(async (name) => {
			const current = await readSwitch(systemRoot, name);
			const before = recorded.switches[name]?.before;
			return { name, ...(current === undefined ? {} : { current }), ...(before === undefined ? {} : { before }) };
		}),
	);
}

const recordPath = (directory: string): string => join(directory, 'switches.json');

async function readSwitch(systemRoot: string, name: SwitchState['name']): Promise<string | undefined> {
	const text = await readFile(join(systemRoot, FILES[name]), 'utf8').catch(() => undefined);
	return text?.trim();
}

/** The record of this boot; one of an earlier boot is void, because the kernel came up with its own values. */
async function readRecord(systemRoot: string, directory: string): Promise<Recorded> {
	const bootId = (await readFile(join(systemRoot, 'proc/sys/kernel/random/boot_id'), 'utf8').catch(() => '')).trim();
	try {
		const recorded = JSON.parse(await readFile(recordPath(directory), 'utf8')) as {
			boot_id: string;
			switches: Recorded['switches'];
		};
		if (recorded.boot_id === bootId) return { bootId, switches: recorded.switches };
	} catch {
		// No record, or one that was cut off before any switch moved: nothing of ours is in force.
	}
	return { bootId, switches: {} };
}

async function writeRecord(directory: string, recorded: Recorded): Promise<void> {
	await mkdir(directory, { recursive: true, mode: 0o700 });
	const temporary = `${recordPath(directory)}.new`;
	const handle = await open(temporary, 'w', 0o600);
	try {
		await handle.writeFile(`${JSON.stringify({ boot_id: recorded.bootId, switches: recorded.switches })}\n`);
		await handle.sync();
	} finally {
		await handle.close();
	}
	await rename(temporary, recordPath(directory));
	const parent = await open(directory, 'r');
	await parent.sync().finally(() => parent.close());
}
