// The group files that are written on a pure v2 host and on v1, against plain folders: the kernel's answers are in the host tests.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { systemClock } from '../../clock/system.ts';
import { openCgroups } from './cgroup.ts';

const root = mkdtempSync(join(tmpdir(), 'mvm-cgroup-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const read = (...path: string[]): string => readFileSync(join(root, ...path), 'utf8');
const limits = { memMib: 256, pidsMax: 64, vcpus: 1.5 };

it('uses the v2 controllers where the tree has them, and swap only for hibernation', () => {
	mkdirSync(join(root, 'v2/mvm/0'), { recursive: true });
	writeFileSync(join(root, 'v2/mvm/cgroup.freeze'), '0');
	writeFileSync(join(root, 'v2/mvm/0/memory.swap.max'), 'max');
	const mounts = { v1: {}, v2: join(root, 'v2') };
	// A plain file keeps only the last write, so what the kernel would answer is put there and nothing is asked for.
	const kept = { ...mounts, v2Controllers: [] };
	writeFileSync(join(root, 'v2/mvm/cgroup.subtree_control'), 'cpu memory pids\n');
	const host = openCgroups({ clock: systemClock, mounts: kept }, { parent: 'mvm' });
	expect(host).toMatchObject({ missing: [], canFreeze: true, canLimitMemory: true });
	const group = host.group('0');
	group.create(limits);
	expect(read('v2/mvm/0/memory.max')).toBe(String(256 * 2 ** 20));
	expect(read('v2/mvm/0/memory.swap.max')).toBe('0');
	expect(read('v2/mvm/0/pids.max')).toBe('64');
	expect(read('v2/mvm/0/cpu.max')).toBe('150000 100000');
	group.allowSwap(true);
	expect(read('v2/mvm/0/memory.swap.max')).toBe(String(256 * 2 ** 20));
	group.allowSwap(false);
	expect(read('v2/mvm/0/memory.swap.max')).toBe('0');
	writeFileSync(join(root, 'v2/mvm/0/memory.events'), 'low 0\noom 2\noom_kill 3\n');
	writeFileSync(join(root, 'v2/mvm/0/cpu.stat'), 'usage_usec 42000\n');
	writeFileSync(join(root, 'v2/mvm/0/pids.current'), '5\n');
	expect(group.usage()).toEqual({ oomKills: 3, cpuMs: 42, tasks: 5 });
	expect(group.memoryGroup).toEqual({ version: 2, path: join(root, 'v2/mvm/0') });
	expect(host.names()).toEqual(['0']);
});

it('says what is missing where there is only a part', () => {
	mkdirSync(join(root, 'freezer'));
	const mounts = { v1: { freezer: join(root, 'freezer') }, v2Controllers: [] };
	expect(openCgroups({ clock: systemClock, mounts }, { parent: 'mvm' })).toMatchObject({
		missing: ['memory', 'pids', 'cpu'],
		canFreeze: true,
		canLimitMemory: false,
	});
});
