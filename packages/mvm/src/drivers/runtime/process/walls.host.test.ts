// The walls seen from the host: another instance's users, and the daemon's, get nowhere near an instance's folders.
import { spawnSync } from 'node:child_process';
import { parseInstanceId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeProbeFolders, PROBE_IMAGE, type ProbeFolders } from '../../../../../../test/support/probe-host.ts';
import { silentLogger } from '../../../platform/logger.ts';
import { systemClock } from '../../clock/system.ts';
import { destroyInstance } from './end.ts';
import { openProcessHost, type ProcessHost, pathsOf } from './host.ts';
import { prepareInstance } from './prepare.ts';
import { uidRange, WORKLOAD_UID } from './uids.ts';

const call = () => ({ signal: AbortSignal.timeout(20_000) });
const [one, two] = ['i-00000aaa', 'i-00000bbb'].map(parseInstanceId) as [
	ReturnType<typeof parseInstanceId>,
	ReturnType<typeof parseInstanceId>,
];
const DAEMON = 64_001;
let folders: ProbeFolders;
let host: ProcessHost;
beforeAll(async () => {
	folders = makeProbeFolders();
	const { dataDir, runDir, claimsDir, dist } = folders;
	host = await openProcessHost(
		{
			...{ dataDir, runDir, claimsDir, guestDir: `${dist}/guest`, cgroupParent: `mvm-test-${process.pid}` },
			daemon: { uid: DAEMON, gid: DAEMON },
		},
		{ clock: systemClock, log: silentLogger, resolveImage: async () => PROBE_IMAGE },
		call(),
	);
	for (const instanceId of [one, two]) await prepareInstance(host, { instanceId, dataDiskMib: 32 }, call());
	const record = host.slots.get(one);
	host.secrets.write(
		pathsOf(host, record).secrets,
		[{ integration: 'telegram', key: 'TOKEN', value: 'v' }],
		uidRange(record.slot).base + WORKLOAD_UID,
	);
});
afterAll(async () => {
	for (const id of [one, two]) await destroyInstance(host, id, call());
	host.abilities.cgroups?.removeParents();
	folders.remove();
});

/** Exit code of a program as one host user. */
function as(uid: number, gid: number, ...argv: string[]): number | null {
	return spawnSync('setpriv', ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--', ...argv]).status;
}

it('lets an instance through to its own folders and nobody else', () => {
	const record = host.slots.get(one);
	const paths = pathsOf(host, record);
	const own = uidRange(record.slot).base;
	const other = uidRange(host.slots.get(two).slot).base;
	expect(as(own, own, 'ls', paths.config)).toBe(0);
	const strangers = [
		['another supervisor', other, other],
		['another workload', other + WORKLOAD_UID, other + WORKLOAD_UID],
		['nobody', 65_534, 65_534],
	] as const;
	for (const [who, uid, gid] of strangers)
		for (const path of [
			paths.root,
			paths.data,
			paths.config,
			`${paths.disk}/console.log`,
			`${paths.secrets}/telegram`,
			paths.link,
			paths.status,
		])
			expect(as(uid, gid, 'ls', path), `${who} ${path}`).not.toBe(0);
	for (const [who, uid, gid] of strangers) {
		expect(as(uid, gid, 'cat', `${paths.secrets}/telegram/TOKEN`), who).not.toBe(0);
		expect(as(uid, gid, 'touch', `${paths.data}/x`), who).not.toBe(0);
	}
});

it('gives the daemon the link directory and nothing that root opens', () => {
	const paths = pathsOf(host, host.slots.get(one));
	expect(as(DAEMON, DAEMON, 'touch', `${paths.link}/to-guest.sock`)).toBe(0);
	for (const path of [paths.root, paths.data, `${paths.secrets}/telegram`, host.paths.records])
		expect(as(DAEMON, DAEMON, 'ls', path), path).not.toBe(0);
	for (const path of [`${paths.run}/x`, `${paths.secrets}/x`, `${folders.runDir}/i/x`, `${host.paths.root}/x`])
		expect(as(DAEMON, DAEMON, 'touch', path), path).not.toBe(0);
	expect(as(DAEMON, DAEMON, 'mv', paths.link, `${paths.run}/moved`)).not.toBe(0);
	// What the daemon plants in the link directory is unlinked, not followed, when the instance is erased.
	expect(as(DAEMON, DAEMON, 'ln', '-s', '/etc', `${paths.link}/trap`)).toBe(0);
});
