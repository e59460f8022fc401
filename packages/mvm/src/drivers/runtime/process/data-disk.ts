// The instance's disk: `/data` and its console log. As root a loop-mounted sparse ext4, so that the size is a hard limit
// and the guest's files are not the host's; otherwise a plain folder. Called by the process driver; survives hostd restarts.
import {
	chmodSync,
	chownSync,
	closeSync,
	existsSync,
	ftruncateSync,
	mkdirSync,
	openSync,
	renameSync,
	statSync,
	truncateSync,
} from 'node:fs';
import { rm, statfs } from 'node:fs/promises';
import type { Clock } from '../../../ports/clock.ts';
import { recoverReplacedData } from './data-restore.ts';
import { isMountPoint, unmount } from './mounts.ts';
import type { SlotPaths } from './paths.ts';
import { runTool } from './run-tool.ts';
import type { UidRange } from './uids.ts';
import { WORKLOAD_UID } from './uids.ts';

const MIB = 1024 * 1024;
/** The smallest file system with a journal that mkfs makes and that still has room. */
const MIN_MIB = 16;
/** e2fsck's exit code for "errors were there and are corrected". */
const MENDED = [1];

export interface DataDisk {
	/** Makes the disk or mounts the one that is there. `fresh` says that `/data` is new and empty. */
	ensure(
		paths: SlotPaths,
		options: {
			readonly mib: number;
			readonly range: UidRange | undefined;
			/** Nothing of the instance lives: the disk may be taken off to be grown. */
			readonly isIdle?: boolean;
			readonly signal: AbortSignal;
		},
	): Promise<{ fresh: boolean }>;
	/** Bytes in use, where the disk is its own file system; undefined otherwise (then measure.ts tells). */
	usedBytes(paths: SlotPaths): Promise<number | undefined>;
	/** Unmounts and removes everything; nothing of the instance may run. */
	erase(paths: SlotPaths, options: { signal: AbortSignal }): Promise<void>;
}

/** A disk driver; `loop` false makes plain folders. */
export function makeDataDisk(clock: Clock, options: { readonly loop: boolean }): DataDisk {
	return {
		async ensure(paths, { mib, range, isIdle = false, signal }) {
			mkdirSync(paths.disk, { recursive: true, mode: 0o711 });
			// Data that began in a plain folder stays there: mounting over it would hide it.
			const isPlain = !existsSync(paths.diskImage) && existsSync(paths.data);
			if (!isPlain && (existsSync(paths.diskImage) || (options.loop && mib > 0))) {
				if (isIdle) await grow(clock, paths, mib, signal);
				await mountImage(paths, { mib, range, signal });
			}
			await recoverReplacedData(paths);
			const fresh = !existsSync(paths.data);
			if (fresh) makeDataFolder(paths.data, range);
			return { fresh };
		},
		async usedBytes(paths) {
			if (!existsSync(paths.diskImage) || !isMountPoint(paths.disk)) return undefined;
			const { blocks, bfree, bsize } = await statfs(paths.disk);
			return (blocks - bfree) * bsize;
		},
		async erase(paths, { signal }) {
			await unmount(clock, paths.disk, { signal });
			await rm(paths.root, { recursive: true, force: true, maxRetries: 3 });
		},
	};
}

/** `/data` belongs to the workload; the supervisor (gid 0 inside) may write too, executors may only pass through. */
export function makeDataFolder(path: string, range: UidRange | undefined): void {
	mkdirSync(path, { mode: 0o771 });
	chmodSync(path, 0o771);
	if (range !== undefined) chownSync(path, range.base + WORKLOAD_UID, range.base);
}

async function mountImage(
	paths: SlotPaths,
	{ mib, range, signal }: { mib: number; range: UidRange | undefined; signal: AbortSignal },
): Promise<void> {
	if (isMountPoint(paths.disk)) return;
	if (!existsSync(paths.diskImage)) {
		// Made beside and renamed, so an image that is there is a whole one.
		const incoming = `${paths.diskImage}.incoming`;
		const fd = openSync(incoming, 'w', 0o600);
		ftruncateSync(fd, Math.max(mib, MIN_MIB) * MIB);
		closeSync(fd);
		// One per cent stays reserved for the supervisor, so that its log lines still fit when the workload has filled the rest.
		const features = ['-m', '1', '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0'];
		await runTool(['mkfs.ext4', '-q', '-F', ...features, incoming], { signal });
		renameSync(incoming, paths.diskImage);
	}
	const reserved = range === undefined ? '' : `,resuid=${range.base}`;
	const mount = ['mount', '-o', `loop,nosuid,nodev,discard${reserved}`, paths.diskImage, paths.disk] as const;
	try {
		await runTool(mount, { signal });
	} catch {
		// After a power cut: what can be mended without a question is mended, anything else stays an error for a person.
		await runTool(['e2fsck', '-p', paths.diskImage], { signal, ok: MENDED });
		await runTool(mount, { signal });
	}
}

/** Makes a disk as large as the pool now says; it never shrinks. Offline, because growing a mounted one takes more rights. */
async function grow(clock: Clock, paths: SlotPaths, mib: number, signal: AbortSignal): Promise<void> {
	if (!existsSync(paths.diskImage) || mib * MIB <= statSync(paths.diskImage).size) return;
	await unmount(clock, paths.disk, { signal });
	truncateSync(paths.diskImage, mib * MIB);
	await runTool(['e2fsck', '-f', '-p', paths.diskImage], { signal, ok: MENDED });
	await runTool(['resize2fs', paths.diskImage], { signal });
}
