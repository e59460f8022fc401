// How much swap the host has, ours or not; for the host's view and for the doctor, with and without a platform.
import { readFileSync } from 'node:fs';

/** Bytes, from /proc/meminfo (proc(5)); 0 when none is on. */
export function swapTotalBytes(): number {
	const line = /^SwapTotal:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
	return Number(line?.[1] ?? 0) * 1024;
}
