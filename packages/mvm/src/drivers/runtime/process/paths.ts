// Every path the process driver uses, from the data and run folders and a slot number. Slots are small integers made here,
// so no name from outside ever becomes part of a path.
import { join } from 'node:path';

export interface HostPaths {
	/** `<data>/hostd`: everything that outlives a reboot. */
	readonly root: string;
	/** One JSON record per slot, 0600. */
	readonly records: string;
	readonly images: string;
	slot(slot: number): SlotPaths;
}

export interface SlotPaths {
	/** 0710 root:<first uid of the range>, so that one instance's range cannot even look into another's folder. */
	readonly root: string;
	/** Sparse ext4 image that is `/data` (and the console log); absent without loop devices. */
	readonly diskImage: string;
	/** Mount point of the image, or a plain folder. The guest sees only `data` of it. */
	readonly disk: string;
	readonly data: string;
	/** Where a restore is assembled before it is swapped in. */
	readonly dataIncoming: string;
	/** Lies on the instance's own disk, so that output cannot fill the host's. */
	readonly consoleLog: string;
	readonly config: string;
	/** bubblewrap's json-status: first line the pids, last line the exit code. */
	readonly status: string;
	readonly run: string;
	readonly link: string;
	readonly secrets: string;
}

export function hostPaths(dataDir: string, runDir: string): HostPaths {
	const root = join(dataDir, 'hostd');
	return {
		root,
		records: join(root, 'slots'),
		images: join(dataDir, 'images'),
		slot(slot) {
			const own = join(root, 'i', String(slot));
			const run = join(runDir, 'i', String(slot));
			const disk = join(own, 'disk');
			return {
				root: own,
				diskImage: join(own, 'disk.ext4'),
				disk,
				data: join(disk, 'data'),
				dataIncoming: join(disk, 'data.incoming'),
				consoleLog: join(disk, 'console.log'),
				config: join(own, 'config'),
				status: join(own, 'status.json'),
				run,
				link: join(run, 'link'),
				secrets: join(run, 'secrets'),
			};
		},
	};
}
