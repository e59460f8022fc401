// This host's mount table: questions, and the one way to take a mount away.
import { readFileSync } from 'node:fs';
import type { Clock } from '../../../ports/clock.ts';
import { runTool } from './run-tool.ts';

const UNMOUNT_TRIES = 100;
const UNMOUNT_PAUSE_MS = 20;

/** True when something is mounted exactly at `path`. */
export function isMountPoint(path: string, mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8')): boolean {
	return mountinfo.split('\n').some((line) => decodeField(line.split(' ')[4] ?? '') === path);
}

/** The kernel writes blanks and their like as octal escapes. */
function decodeField(field: string): string {
	return field.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8)));
}

/**
 * Unmounts `path` if something is mounted there. The kernel lets go of a killed sandbox's mounts a moment after its last
 * process, so "busy" is tried again for two seconds.
 */
export async function unmount(clock: Clock, path: string, options: { signal: AbortSignal }): Promise<void> {
	for (let tries = 1; isMountPoint(path); tries += 1) {
		try {
			await runTool(['umount', path], options);
		} catch (error) {
			if (tries >= UNMOUNT_TRIES) throw error;
			await clock.sleep(UNMOUNT_PAUSE_MS, options);
		}
	}
}
