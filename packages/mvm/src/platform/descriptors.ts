// Descriptors that a parent left open without close-on-exec would be inherited by everything this process starts, sandboxes
// included. Called once, first thing, by entry points that spawn untrusted processes.
import { closeSync, readdirSync, readFileSync } from 'node:fs';

const O_CLOEXEC = 0o2000000;

/** Closes every inheritable descriptor above stderr; returns which. Node's own are all close-on-exec. */
export function closeInheritedDescriptors(): number[] {
	const closed: number[] = [];
	for (const name of readdirSync('/proc/self/fd')) {
		const fd = Number(name);
		if (fd <= 2 || !isInheritable(fd)) continue;
		closeSync(fd);
		closed.push(fd);
	}
	return closed;
}

function isInheritable(fd: number): boolean {
	try {
		const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
		return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
	} catch {
		// The descriptor that listed the folder is gone by now.
		return false;
	}
}
