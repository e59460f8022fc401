// Finds which cgroup hierarchies this host offers: v1 controllers, the v2 tree, or both (hybrid). Reads only.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Mount points by what they control; absent when the host does not have them. */
export interface CgroupMounts {
	/** v1 hierarchies by controller: memory, pids, cpu, cpuacct, freezer. */
	readonly v1: Readonly<Partial<Record<V1Controller, string>>>;
	/** The v2 tree, with or without controllers. */
	readonly v2?: string;
	/** Controllers that the v2 tree itself can switch on. */
	readonly v2Controllers: readonly string[];
}

const V1 = ['memory', 'pids', 'cpu', 'cpuacct', 'freezer'] as const;
export type V1Controller = (typeof V1)[number];

/** Parses `/proc/self/mountinfo`; `controllersOf` reads a v2 tree's `cgroup.controllers`. */
export function parseCgroupMounts(mountinfo: string, controllersOf: (mount: string) => string): CgroupMounts {
	const v1: Partial<Record<V1Controller, string>> = {};
	let v2: string | undefined;
	for (const line of mountinfo.split('\n')) {
		const [left, right] = line.split(' - ');
		const mount = left?.split(' ')[4];
		const [type, , superOptions] = right?.split(' ') ?? [];
		if (mount === undefined) continue;
		if (type === 'cgroup2') v2 ??= mount;
		if (type !== 'cgroup') continue;
		for (const option of superOptions?.split(',') ?? []) {
			const controller = V1.find((name) => name === option);
			if (controller !== undefined) v1[controller] ??= mount;
		}
	}
	const v2Controllers = v2 === undefined ? [] : controllersOf(v2).trim().split(/\s+/).filter(Boolean);
	return v2 === undefined ? { v1, v2Controllers } : { v1, v2, v2Controllers };
}

export function findCgroupMounts(): CgroupMounts {
	return parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'), (mount) => {
		const file = join(mount, 'cgroup.controllers');
		return existsSync(file) ? readFileSync(file, 'utf8') : '';
	});
}
