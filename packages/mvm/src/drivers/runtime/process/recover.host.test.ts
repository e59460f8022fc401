// What a new hostd makes of what an old one left: interrupted boots, trees and folders without a record, mounts.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { GuestConfig, parseInstanceId } from '@mvm/protocol';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import {
	makeProbeFolders,
	PROBE_COMMAND,
	PROBE_IMAGE,
	PROBE_IMAGE_HASH,
	type ProbeFolders,
} from '../../../../../../test/support/probe-host.ts';
import { ProbeLink } from '../../../../../../test/support/probe-link.ts';
import { closeInheritedDescriptors } from '../../../platform/descriptors.ts';
import { silentLogger } from '../../../platform/logger.ts';
import { systemClock } from '../../clock/system.ts';
import { bootInstance } from './boot.ts';
import { destroyInstance, stopInstance } from './end.ts';
import { openProcessHost, type ProcessHost, pathsOf } from './host.ts';
import { isMountPoint } from './mounts.ts';
import { observe } from './observe.ts';
import { prepareInstance } from './prepare.ts';
import { recoverProcessHost, releaseMounts } from './recover.ts';
import { UidClaims } from './uids.ts';

const call = () => ({ signal: AbortSignal.timeout(20_000) });
const id = parseInstanceId('i-00000abc');
let folders: ProbeFolders;
let host: ProcessHost;
const open = (): Promise<ProcessHost> => {
	const { dataDir, runDir, claimsDir, dist } = folders;
	const config = { dataDir, runDir, claimsDir, guestDir: `${dist}/guest`, guestCommand: PROBE_COMMAND };
	return openProcessHost(
		{ ...config, daemon: { uid: 0, gid: 0 }, cgroupParent: `mvm-test-${process.pid}` },
		{ clock: systemClock, log: silentLogger, resolveImage: async () => PROBE_IMAGE },
		call(),
	);
};
const boot = async (incarnation = 1) => {
	await prepareInstance(host, { instanceId: id, dataDiskMib: 64 }, call());
	const config = GuestConfig.parse({ instance_id: id, pool_id: 'p', tenant_id: 't', vcpus: 1, mem_mib: 128 });
	const size = { vcpus: 1, memMib: 128, pidsMax: 64 };
	return bootInstance(host, { instanceId: id, incarnation, token: 't', image: PROBE_IMAGE_HASH, ...size, config }, call());
};
beforeAll(async () => {
	closeInheritedDescriptors();
	folders = makeProbeFolders();
	host = await open();
});
afterEach(() => destroyInstance(host, id, call()));
afterAll(() => {
	host.abilities.cgroups?.removeParents();
	folders.remove();
});

it('settles a boot that was cut off, whichever way it went', async () => {
	await boot();
	const alive = host.slots.put({ ...host.slots.get(id), phase: 'starting' });
	host = await open();
	await recoverProcessHost(host, call());
	expect(await observe(host, host.slots.get(id))).toMatchObject({ state: 'running', incarnation: 1 });
	await stopInstance(host, { instanceId: id, graceMs: 0 }, call());
	host.slots.put({ ...alive, phase: 'starting', incarnation: 2 });
	expect(await observe(host, host.slots.get(id))).toMatchObject({ state: 'absent' });
	host = await open();
	await recoverProcessHost(host, call());
	expect(host.slots.get(id)).toMatchObject({ phase: 'stopped', incarnation: 2 });
	await expect(boot(2)).rejects.toMatchObject({ code: 'INCARNATION_STALE' });
});

it('finishes an erase that was cut off', async () => {
	await boot();
	host.slots.put({ ...host.slots.get(id), phase: 'erasing' });
	await expect(boot(2)).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
	host = await open();
	await recoverProcessHost(host, call());
	expect(host.slots.find(id)).toBeUndefined();
	expect(readdirSync(`${folders.dataDir}/hostd/i`)).toEqual([]);
});

it('kills a tree without a record and puts its data aside', async () => {
	const { slot } = await boot();
	const { pid = 0 } = await observe(host, host.slots.get(id));
	rmSync(`${folders.dataDir}/hostd/slots/${slot}.json`);
	host = await open();
	await recoverProcessHost(host, call());
	expect(existsSync(`/proc/${pid}/root`) && readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') S')).toBe(false);
	expect(readdirSync(`${folders.dataDir}/hostd/i`)).toEqual([]);
	expect(readdirSync(`${folders.dataDir}/hostd/orphans`)).toHaveLength(1);
	expect(await boot()).toMatchObject({ state: 'running' });
});

it('lets go of mounts at the end and has the data again at the next start', async () => {
	await boot();
	await using link = await ProbeLink.listen(pathsOf(host, host.slots.get(id)).link);
	await link.hello();
	await link.sh('echo kept > /data/note');
	const { disk, secrets } = pathsOf(host, host.slots.get(id));
	await releaseMounts(host, call());
	expect(isMountPoint(disk)).toBe(true);
	await stopInstance(host, { instanceId: id, graceMs: 0 }, call());
	await releaseMounts(host, call());
	expect([isMountPoint(disk), isMountPoint(secrets)]).toEqual([false, false]);
	await boot(2);
	await link.hello();
	expect(await link.run(['cat', '/data/note'])).toMatchObject({ out: 'kept\n' });
});

it('gives an instance no slot whose uids another hostd has', async () => {
	const { slot } = await boot();
	await destroyInstance(host, id, call());
	const other = makeProbeFolders();
	try {
		mkdirSync(`${other.dataDir}/hostd/slots`, { recursive: true });
		writeFileSync(`${other.dataDir}/hostd/slots/${slot}.json`, '{}');
		new UidClaims({ directory: folders.claimsDir, owner: other.dataDir }).claim(slot);
		expect((await boot()).slot).not.toBe(slot);
	} finally {
		other.remove();
	}
});
