// The runtime port: what a host must be able to do with one isolated instance. Drivers implement it inside `mvm-hostd`;
// the daemon calls it through the RPC client of the same shape (drivers/runtime/hostd-client). Nothing here parses guest bytes.
// Every call is idempotent unless it says otherwise, and returns only after its effect was checked.
import type { Condition, GuestConfig, ImageRecipe, ImageRevision, InstanceId } from '@mvm/protocol';

/** What a driver can do on this host; probed, never assumed. */
export interface RuntimeCapabilities {
	readonly driver: string;
	readonly isolation: 'namespaces' | 'gvisor' | 'microvm' | 'pod';
	/** Freeze and thaw a whole process tree. */
	readonly freeze: boolean;
	/** Move the memory of a frozen instance to disk and run on from there. */
	readonly snapshot: boolean;
	readonly bridgeNetwork: boolean;
	/** What is weaker than on a fully equipped host; shown by `mvm doctor` and on every instance. */
	readonly conditions: readonly Condition[];
}

export interface PrepareInput {
	readonly instanceId: InstanceId;
	/** Size limit of `/data` in MiB; 0 means no limit. */
	readonly dataDiskMib: number;
}

export interface Prepared {
	/** Small number that names the instance's folders and its uid range on this host. */
	readonly slot: number;
	/** Directory in which the daemon listens for the guest's link streams (see ports/link.ts). */
	readonly linkDir: string;
	/** True while `/data` is empty because it was just made: nothing has booted on it and nothing was restored into it. */
	readonly dataFresh: boolean;
	readonly conditions: readonly Condition[];
}

export interface BootInput {
	readonly instanceId: InstanceId;
	/** Refused with INCARNATION_STALE unless greater than every incarnation this host has seen for the instance. */
	readonly incarnation: number;
	/** Link token of this incarnation; handed to the guest over an inherited descriptor, never on a command line. */
	readonly token: string;
	/** Content hash of an installed image revision. */
	readonly image: string;
	readonly vcpus: number;
	readonly memMib: number;
	/** Limits the number of tasks in the instance. */
	readonly pidsMax: number;
	readonly config: GuestConfig;
}

export interface Observed {
	readonly instanceId: InstanceId;
	readonly slot: number;
	/** `absent`: prepared, nothing runs. `exited`: ran and ended by itself. */
	readonly state: 'running' | 'frozen' | 'exited' | 'absent';
	/** Incarnation of the last boot, thaw or restore that this host performed; 0 before the first. */
	readonly incarnation: number;
	/** True after `snapshot` and until `restore`, `stop` or `destroy`. */
	readonly hibernated: boolean;
	/** Host pid of the sandbox's init and its start time in clock ticks since boot; absent when nothing runs. */
	readonly pid?: number;
	readonly startTicks?: number;
	/** Exit code of the sandbox when it ended by itself; absent when it was killed from outside. */
	readonly exitCode?: number;
	readonly image?: string;
	/** From here on: only in the answers of `inspect` and `adopt`; freeze, thaw, boot and stop do not wait for statistics. */
	readonly memory?: InstanceMemory;
	/** CPU time consumed since boot, in milliseconds. */
	readonly cpuMs?: number;
	readonly tasks?: number;
	/** Bytes in use under `/data`; absent when not measured. */
	readonly dataBytes?: number;
	readonly oomKills?: number;
}

export interface InstanceMemory {
	/** Memory charged to the instance (cgroup usage), in bytes. Not VmRSS: shared text is not the instance's. */
	readonly chargedBytes: number;
	readonly swapBytes: number;
	/** Sum of VmRSS of the instance's processes, in bytes. */
	readonly residentBytes: number;
}

export interface SnapshotResult {
	readonly chargedBeforeBytes: number;
	readonly chargedAfterBytes: number;
	readonly swapBytes: number;
	readonly rounds: number;
}

export interface SecretFile {
	readonly integration: string;
	readonly key: string;
	readonly value: string;
}

/** One entry of a `/data` walk. A `file` is followed by its bytes through `content`. */
export interface DataEntry {
	/** Relative to `/data`, `/`-separated, never empty, never leaving it. Bytes that are not UTF-8 are refused and named. */
	readonly path: string;
	readonly kind: 'file' | 'dir' | 'symlink';
	readonly mode: number;
	/** Ids as seen inside the instance. */
	readonly uid: number;
	readonly gid: number;
	readonly mtimeMs: number;
	readonly bytes: number;
	readonly linkText?: string;
	/** Present for files; must be consumed before the next entry is pulled. */
	readonly content?: AsyncIterable<Uint8Array>;
}

/** An entry that a walk or a restore refused: device, socket, FIFO, hard link to outside, unreadable name. */
export interface RefusedEntry {
	readonly path: string;
	readonly why: string;
}

export interface CallOptions {
	readonly signal: AbortSignal;
}

export interface Runtime {
	capabilities(options: CallOptions): Promise<RuntimeCapabilities>;
	/** Allocates a slot, users, folders, `/data`, the secrets tmpfs and the link directory. */
	prepare(input: PrepareInput, options: CallOptions): Promise<Prepared>;
	/** Starts the sandbox. Throws ALREADY_RUNNING when a tree of this instance is alive (in any incarnation). */
	boot(input: BootInput, options: CallOptions): Promise<Observed>;
	freeze(id: InstanceId, options: CallOptions): Promise<Observed>;
	/**
	 * Lets a frozen tree run as `incarnation`, which must be greater than the last one. Also wakes a hibernated tree. A tree
	 * that runs already only gets the new incarnation recorded; the same call again changes nothing.
	 */
	thaw(input: { instanceId: InstanceId; incarnation: number }, options: CallOptions): Promise<Observed>;
	/** Pages a frozen tree out to disk. Throws SNAPSHOT_UNAVAILABLE (nothing changed) when there is no room or no right. */
	snapshot(id: InstanceId, options: CallOptions): Promise<SnapshotResult>;
	/** Reads a hibernated tree's working set back while it is still frozen: a head start for a wake that is foreseen. */
	prefetch(id: InstanceId, options: CallOptions): Promise<{ bytes: number }>;
	/** Restores a memory snapshot that outlived its process (VM drivers). The process driver throws UNSUPPORTED. */
	restore(input: BootInput, options: CallOptions): Promise<Observed>;
	/** Ends the tree: SIGTERM, `graceMs`, then kill; returns when no process is left. A frozen tree is killed frozen. */
	stop(input: { instanceId: InstanceId; graceMs: number }, options: CallOptions): Promise<Observed>;
	/** Stops, erases `/data`, secrets and link, frees the slot. */
	destroy(id: InstanceId, options: CallOptions): Promise<void>;
	inspect(id: InstanceId, options: CallOptions): Promise<Observed | undefined>;
	/** Everything this host knows, live or not; after a restart of daemon or hostd this is how instances are adopted. */
	adopt(options: CallOptions): Promise<readonly Observed[]>;
	/** Replaces all secret files of the instance atomically, file by file; scope was decided by the caller. */
	writeSecrets(
		input: { instanceId: InstanceId; epoch: number; files: readonly SecretFile[] },
		options: CallOptions,
	): Promise<void>;
	/** Walks a frozen or stopped `/data`. Throws NOT_QUIESCENT while the instance runs. */
	checkpointData(
		id: InstanceId,
		options: CallOptions,
	): Promise<{ entries: AsyncIterable<DataEntry>; refused(): readonly RefusedEntry[] }>;
	/** Replaces `/data` by the given entries, beside the old one and swapped in at the end. Only while nothing runs. */
	restoreData(
		id: InstanceId,
		entries: AsyncIterable<DataEntry>,
		options: CallOptions,
	): Promise<{ entries: number; bytes: number }>;
	/** Builds an image in a sandbox, or returns the revision that is already there (`reused`). */
	installImage(recipe: ImageRecipe, options: CallOptions & { onProgress?: (line: string) => void }): Promise<ImageRevision>;
	listImages(options: CallOptions): Promise<readonly ImageRevision[]>;
	/** Removes revisions not in `keep` and not in use; returns what was removed. */
	gcImages(keep: readonly string[], options: CallOptions): Promise<readonly string[]>;
	/** The last bytes of the instance's console log. */
	logs(input: { instanceId: InstanceId; tailBytes: number }, options: CallOptions): Promise<string>;
}
