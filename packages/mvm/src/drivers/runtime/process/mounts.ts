// Questions about this host's mount table. Reads /proc/self/mountinfo only.
import { readFileSync } from 'node:fs';

/** True when something is mounted exactly at `path`. Octal escapes of the kernel are undone. */
export function isMountPoint(path: string, mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8')): boolean {
	return mountinfo
		.split('\n')
		.some(
			(line) =>
				(line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))) === path,
		);
}
