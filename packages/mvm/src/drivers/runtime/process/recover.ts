// What hostd does once when it starts and once when the platform goes to rest: finish what a crash left half-done, end what
// belongs to nobody, let go of mounts. Called by main/run-hostd.ts only.
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { InstanceId } from '@mvm/protocol';
import { destroyInstance } from './end.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import { unmount } from './mounts.ts';

type Options = { readonly signal: AbortSignal };

/**
 * Settles every record that was in the middle of something, and kills what runs in a group of ours without a record: its
 * slot may be given away, and a tree nobody knows is a second writer in waiting.
 */
export async function recoverProcessHost(host: ProcessHost, options: Options): Promise<void> {
	for (const record of host.slots.all()) {
		if (host.claims?.claim(record.slot) === false)
			host.log.error({ instance_id: record.instanceId, slot: record.slot }, 'uid range is claimed by another hostd');
		if (record.phase === 'starting') {
			const lives = host.tree(record).pids().length > 0;
			host.slots.put({ ...record, phase: lives ? 'started' : 'stopped' });
			host.log.info({ instance_id: record.instanceId, lives }, 'interrupted boot settled');
		}
		if (record.phase === 'erasing') await destroyInstance(host, record.instanceId as InstanceId, options);
	}
	const known = new Set(host.slots.all().map((record) => String(record.slot)));
	for (const name of host.abilities.cgroups?.names() ?? []) {
		if (known.has(name)) continue;
		const group = host.cgroup(Number(name));
		host.log.warn({ slot: name, pids: group?.pids() }, 'processes without a record killed');
		await group?.kill(options);
		group?.remove();
	}
	await setAsideUnknownFolders(host, known, options);
}

/** Unmounts the disks and secrets of all instances that do not run; booting mounts them again. */
export async function releaseMounts(host: ProcessHost, options: Options): Promise<void> {
	for (const record of host.slots.all()) {
		if (host.tree(record).pids().length > 0) continue;
		const paths = pathsOf(host, record);
		await host.exclusively(record.instanceId as InstanceId, options, async () => {
			await unmount(host.clock, paths.disk, options);
			await unmount(host.clock, paths.secrets, options);
		});
	}
}

/**
 * Slot folders whose record is gone: they must not meet the slot's next owner, and they may be the only copy of somebody's
 * data, so they are put aside where only root looks.
 */
async function setAsideUnknownFolders(host: ProcessHost, known: ReadonlySet<string>, options: Options): Promise<void> {
	const root = join(host.paths.root, 'i');
	for (const name of existsSync(root) ? readdirSync(root) : []) {
		if (known.has(name) || !/^\d+$/.test(name)) continue;
		const paths = host.paths.slot(Number(name));
		await host.secrets.erase(paths.secrets, options);
		await unmount(host.clock, paths.disk, options);
		const orphans = join(host.paths.root, 'orphans');
		mkdirSync(orphans, { recursive: true, mode: 0o700 });
		const aside = join(orphans, `${name}-${host.clock.now()}`);
		renameSync(paths.root, aside);
		await rm(paths.run, { recursive: true, force: true });
		host.log.error({ slot: name, aside }, 'folder without a record put aside');
	}
}
