// The console log of an instance: appended by the sandbox itself (a file outlives hostd), kept below a cap by hostd with a
// bounded copy. Only ever opened by a path that no guest can touch; its bytes are untrusted text.
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, renameSync, writeFileSync } from 'node:fs';

export const CONSOLE_CAP_BYTES = 4 * 1024 * 1024;

/** Moves the newest half of an oversized log aside and empties it; the writer appends, so it goes on at the start. */
export function trimConsole(path: string, capBytes: number = CONSOLE_CAP_BYTES): boolean {
	const fd = open(path, 'r+');
	if (fd === undefined) return false;
	try {
		if (fstatSync(fd).size <= capBytes) return false;
		writeFileSync(`${path}.old.tmp`, readTail(fd, capBytes / 2), { mode: 0o600 });
		renameSync(`${path}.old.tmp`, `${path}.old`);
		ftruncateSync(fd, 0);
		return true;
	} finally {
		closeSync(fd);
	}
}

/** The last bytes of the log, over the seam of a trim. */
export function tailConsole(path: string, bytes: number): string {
	const newest = tailOf(path, bytes);
	const older = newest.length < bytes ? tailOf(`${path}.old`, bytes - newest.length) : Buffer.alloc(0);
	return Buffer.concat([older, newest]).toString('utf8');
}

function tailOf(path: string, bytes: number): Buffer {
	const fd = open(path, 'r');
	if (fd === undefined) return Buffer.alloc(0);
	try {
		return readTail(fd, bytes);
	} finally {
		closeSync(fd);
	}
}

function readTail(fd: number, bytes: number): Buffer {
	const { size } = fstatSync(fd);
	const length = Math.min(size, Math.floor(bytes));
	const buffer = Buffer.alloc(length);
	const read = readSync(fd, buffer, 0, length, size - length);
	return buffer.subarray(0, read);
}

function open(path: string, flags: string): number | undefined {
	try {
		return openSync(path, flags);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		throw error;
	}
}
