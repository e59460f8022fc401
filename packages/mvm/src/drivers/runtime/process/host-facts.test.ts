// The small readers of kernel text: mounts, stat lines, bubblewrap's status, subordinate ids.
import { expect, it } from 'vitest';
import { parseCgroupMounts } from './cgroup-mounts.ts';
import { isMountPoint } from './mounts.ts';
import { isAlive, nameProcess, parseStat, pidNamespace, pidsInNamespace } from './process-table.ts';
import { parseStatus } from './status-file.ts';
import { foreignUses, overlaps, parseSubids, uidRange } from './uids.ts';

const HYBRID = `30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`;

it('finds v1 controllers, also two in one mount, and the v2 tree beside them', () => {
	expect(parseCgroupMounts(HYBRID, () => '')).toEqual({
		v1: {
			cpu: '/sys/fs/cgroup/cpu,cpuacct',
			cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
			memory: '/sys/fs/cgroup/memory',
			freezer: '/sys/fs/cgroup/freezer',
		},
		v2: '/sys/fs/cgroup/unified',
		v2Controllers: [],
	});
});

it('finds a pure v2 host with its controllers, and a host with nothing', () => {
	const v2 = '25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate';
	expect(parseCgroupMounts(v2, () => 'cpu memory pids\n')).toEqual({
		v1: {},
		v2: '/sys/fs/cgroup',
		v2Controllers: ['cpu', 'memory', 'pids'],
	});
	expect(parseCgroupMounts('', () => '')).toEqual({ v1: {}, v2Controllers: [] });
});

it('knows a mount point with a space in its name', () => {
	const line = '40 1 0:40 / /a\\040b rw - tmpfs tmpfs rw';
	expect(isMountPoint('/a b', line)).toBe(true);
	expect(isMountPoint('/a', line)).toBe(false);
});

it('reads a stat line whose name tries to look like one', () => {
	const tail = 'S 7 8 8 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4242 1 2 3';
	expect(parseStat(5, `5 (a) R 1 (x) ${tail}`)).toEqual({ pid: 5, state: 'S', parentPid: 7, startTicks: 4242 });
	expect(parseStat(5, 'garbage')).toBeUndefined();
});

it('tells a process from a later one with the same pid', () => {
	const me = nameProcess(process.pid);
	if (me === undefined) throw new Error('this process is not there');
	expect(isAlive(me)).toBe(true);
	expect(isAlive({ ...me, startTicks: me.startTicks - 1 })).toBe(false);
	expect(isAlive({ ...me, bootId: 'another boot' })).toBe(false);
	expect(pidsInNamespace(pidNamespace(process.pid) ?? 0)).toContain(process.pid);
});

it('reads the status file line by line and waits for whole lines', () => {
	const first = '{ "child-pid": 41, "pid-namespace": 4026532181 }\n';
	expect(parseStatus('')).toEqual({});
	expect(parseStatus('{ "child-pid": 4')).toEqual({});
	expect(parseStatus(first)).toEqual({ initPid: 41, pidNamespace: 4026532181 });
	expect(parseStatus(`${first}nonsense\n{ "exit-code": 7 }\n`)).toEqual({ initPid: 41, pidNamespace: 4026532181, exitCode: 7 });
});

it('gives every slot a range of its own and sees who else was promised one', () => {
	expect(uidRange(0)).toEqual({ base: 200_000, count: 65_536 });
	expect(uidRange(3).base).toBe(200_000 + 3 * 65_536);
	expect(overlaps(uidRange(0), uidRange(1))).toBe(false);
	expect(parseSubids('alice:100000:65536\nbroken\nbob:x:y\n')).toEqual([{ base: 100_000, count: 65_536 }]);
	expect(overlaps(uidRange(0), { base: 265_535, count: 1 })).toBe(true);
	const mine = process.getuid?.() ?? 0;
	expect(foreignUses({ base: mine, count: 1 })).toContain(`process ${process.pid}`);
});
