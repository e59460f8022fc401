// What the driver needs of one instance's processes, however they are held together: by control groups, or without them
// by their pid namespace (signal-tree.ts). One shape, so that boot, freeze and stop are written once.
import type { CgroupUsage } from './cgroup.ts';

export interface ProcessTree {
	/** Live processes as host pids; empty means that nothing of the instance is left. */
	pids(): number[];
	isFrozen(): boolean;
	freeze(options: { signal: AbortSignal }): Promise<void>;
	thaw(options: { signal: AbortSignal }): Promise<void>;
	kill(options: { signal: AbortSignal }): Promise<void>;
	usage(): CgroupUsage;
}
