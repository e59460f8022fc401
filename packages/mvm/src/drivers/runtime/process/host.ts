// The process driver's view of its host: paths, slots, locks, what was probed. Opened once by the composition root; every
// operation file of this folder takes it as its first argument.
import { chmodSync, mkdirSync } from 'node:fs';
import type { InstanceId } from '@mvm/protocol';
import type { Logger } from '../../../platform/logger.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Cgroup } from './cgroup.ts';
import { type DataDisk, makeDataDisk } from './data-disk.ts';
import { InstanceLocks } from './instance-locks.ts';
import { type HostPaths, hostPaths, type SlotPaths } from './paths.ts';
import { type HostAbilities, probeHost } from './probe.ts';
import type { SandboxImage } from './sandbox.ts';
import { seccompFilter } from './seccomp.ts';
import { makeSecretsFolder, type SecretsFolder } from './secrets.ts';
import { signalTree } from './signal-tree.ts';
import { type SlotRecord, SlotStore } from './slots.ts';
import type { ProcessTree } from './tree.ts';
import { UidClaims, type UidRange, uidRange } from './uids.ts';

export interface ProcessHostConfig {
	readonly dataDir: string;
	readonly runDir: string;
	/** Who listens on the link sockets. */
	readonly daemon: { readonly uid: number; readonly gid: number };
	/** Folder shown at `/opt/mvm`: `bin/node` and the guest bundle. Readable by everyone. */
	readonly guestDir: string;
	/** What runs in every sandbox; the default is the agent of `guestDir`. */
	readonly guestCommand?: readonly string[];
	/** Parent of all control groups; must differ between hostds of one host. */
	readonly cgroupParent: string;
	/** Folder of the uid claims that all hostds of this host share. */
	readonly claimsDir?: string;
	/** Forces a freezer version; for tests. */
	readonly freezer?: 1 | 2;
}

export interface ProcessHostDeps {
	readonly clock: Clock;
	readonly log: Logger;
	/** Throws IMAGE_NOT_FOUND. */
	readonly resolveImage: (hash: string) => Promise<SandboxImage>;
}

export interface ProcessHost extends ProcessHostDeps {
	readonly config: ProcessHostConfig;
	readonly abilities: HostAbilities;
	readonly paths: HostPaths;
	readonly slots: SlotStore;
	readonly locks: InstanceLocks;
	readonly claims: UidClaims | undefined;
	readonly disk: DataDisk;
	readonly secrets: SecretsFolder;
	readonly seccomp: Uint8Array;
	/** Bytes in `/data` by slot where only walking tells; written by the maintenance loop. */
	readonly measured: Map<number, number>;
	/** Undefined without root. */
	range(slot: number): UidRange | undefined;
	cgroup(slot: number): Cgroup | undefined;
	tree(record: SlotRecord): ProcessTree;
	/** Runs one operation under the instance's lock. */
	exclusively<T>(id: InstanceId, options: { signal: AbortSignal }, run: () => Promise<T>): Promise<T>;
}

/** Probes the host and opens the slot store. Throws HOST_UNSUPPORTED when no sandbox can be made here. */
export async function openProcessHost(
	config: ProcessHostConfig,
	deps: ProcessHostDeps,
	options: { signal: AbortSignal },
): Promise<ProcessHost> {
	const uid = process.getuid?.() ?? -1;
	const abilities = await probeHost(deps.clock, {
		uid,
		cgroupParent: config.cgroupParent,
		...(config.freezer === undefined ? {} : { freezer: config.freezer }),
		signal: options.signal,
	});
	const paths = hostPaths(config.dataDir, config.runDir);
	// Every folder on the way to an instance's own is passable and not listable; the records are ours alone.
	for (const folder of [paths.root, `${paths.root}/i`, `${config.runDir}/i`]) {
		mkdirSync(folder, { recursive: true, mode: 0o711 });
		chmodSync(folder, 0o711);
	}
	const slots = new SlotStore(paths.records);
	const locks = new InstanceLocks();
	const cgroup = (slot: number): Cgroup | undefined => abilities.cgroups?.group(String(slot));
	return {
		...deps,
		config,
		abilities,
		paths,
		slots,
		locks,
		claims: abilities.root ? new UidClaims({ directory: config.claimsDir ?? '/run/mvm-uids', owner: config.dataDir }) : undefined,
		disk: makeDataDisk(deps.clock, { loop: abilities.loop }),
		secrets: makeSecretsFolder(deps.clock, { tmpfs: abilities.secretsTmpfs }),
		seccomp: seccompFilter(),
		measured: new Map(),
		range: (slot) => (abilities.root ? uidRange(slot) : undefined),
		cgroup,
		tree(record) {
			const group = abilities.cgroups?.canFreeze === true ? cgroup(record.slot) : undefined;
			return group ?? signalTree(deps.clock, { monitor: record.monitor, statusPath: paths.slot(record.slot).status });
		},
		async exclusively(id, { signal }, run) {
			using _turn = await locks.hold(id, { signal });
			return await run();
		},
	};
}

/** The paths of a record's slot. */
export function pathsOf(host: ProcessHost, record: SlotRecord): SlotPaths {
	return host.paths.slot(record.slot);
}
