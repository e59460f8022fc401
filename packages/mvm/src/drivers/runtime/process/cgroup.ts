// One instance's cgroups on v1, v2 and hybrid hosts: limits, placement, freeze, kill, and what it costs. Limits sit where
// the controllers are; freezing and killing use the v2 tree when there is one (a v2-frozen tree can be killed), else v1.
// Called by the process driver as root. Every effect is read back before it counts as done.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MvmError } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import type { CgroupMounts, V1Controller } from './cgroup-mounts.ts';
import type { MemoryGroup } from './hibernate-memory.ts';
import { isDead, readStat } from './process-table.ts';

const MIB = 1024 * 1024;
const POLL_MS = 2;
const FREEZE_TIMEOUT_MS = 10_000;
const KILL_TIMEOUT_MS = 15_000;

export interface CgroupLimits {
	readonly memMib: number;
	readonly pidsMax: number;
	readonly vcpus: number;
}

/** Counters beside memory, which hibernate-memory.ts reads. */
export interface CgroupUsage {
	readonly oomKills: number;
	readonly cpuMs: number;
	readonly tasks: number;
}

/** The groups of all instances of one hostd, below one parent per hierarchy. */
export interface CgroupHost {
	/** Controllers that are missing here, for conditions. Empty on a fully equipped host. */
	readonly missing: readonly string[];
	readonly canLimitMemory: boolean;
	readonly canFreeze: boolean;
	group(name: string): Cgroup;
	/** Groups that exist now, by name. */
	names(): readonly string[];
	/** Removes the parents once no instance is left. */
	removeParents(): void;
}

type Controller = 'memory' | 'pids' | 'cpu';

interface Layout {
	readonly mounts: CgroupMounts;
	readonly parent: string;
	/** Controllers really switched on in the v2 parent. */
	readonly v2On: ReadonlySet<string>;
	readonly freezer: 1 | 2 | undefined;
}

/** Opens (and creates) the parents. `freezer` forces a version for tests; the default prefers v2. Throws nothing for missing parts. */
export function openCgroups(
	deps: { readonly clock: Clock; readonly mounts: CgroupMounts },
	options: { readonly parent: string; readonly freezer?: 1 | 2 },
): CgroupHost {
	const { mounts } = deps;
	const v2On = mounts.v2 === undefined ? new Set<string>() : enableV2(mounts.v2, options.parent, mounts.v2Controllers);
	for (const mount of new Set(Object.values(mounts.v1))) makeGroup(join(mount, options.parent));
	const v2Freezes = mounts.v2 !== undefined && existsSync(join(mounts.v2, options.parent, 'cgroup.freeze'));
	const freezer = options.freezer ?? (v2Freezes ? 2 : mounts.v1.freezer === undefined ? undefined : 1);
	const layout: Layout = { mounts, parent: options.parent, v2On, freezer };
	const has = (controller: Controller): boolean => directory(layout, controller, 'x') !== undefined;
	const missing = (['memory', 'pids', 'cpu'] as const).filter((controller) => !has(controller));
	return {
		missing: freezer === undefined ? [...missing, 'freezer'] : missing,
		canLimitMemory: has('memory'),
		canFreeze: freezer !== undefined,
		group: (name) => new Cgroup(deps.clock, layout, name),
		names: () => {
			const folders = roots(mounts).flatMap((mount) => readdirSync(join(mount, options.parent), { withFileTypes: true }));
			return [...new Set(folders.filter((entry) => entry.isDirectory()).map(({ name }) => name))];
		},
		removeParents() {
			for (const mount of roots(mounts)) removeGroup(join(mount, options.parent));
		},
	};
}

export class Cgroup {
	readonly #clock: Clock;
	readonly #layout: Layout;
	readonly #name: string;

	constructor(clock: Clock, layout: Layout, name: string) {
		this.#clock = clock;
		this.#layout = layout;
		this.#name = name;
	}

	/** Creates every group and sets the limits. Idempotent; limits may be changed while the instance runs. */
	create(limits: CgroupLimits): void {
		for (const path of this.#paths()) makeGroup(path);
		this.#limitMemory(limits.memMib);
		const pids = directory(this.#layout, 'pids', this.#name);
		if (pids !== undefined) write(join(pids.path, 'pids.max'), String(limits.pidsMax));
		const cpu = directory(this.#layout, 'cpu', this.#name);
		if (cpu === undefined) return;
		const quota = Math.max(1000, Math.round(limits.vcpus * 100_000));
		if (cpu.version === 2) write(join(cpu.path, 'cpu.max'), `${quota} 100000`);
		else write(join(cpu.path, 'cpu.cfs_quota_us'), String(quota));
	}

	/** Puts a process (and what it will start) into every group. */
	place(pid: number): void {
		for (const path of this.#paths()) write(join(path, 'cgroup.procs'), String(pid));
	}

	/** Live processes, from every hierarchy: one that escaped a single tree is still ours. */
	pids(): number[] {
		const found = new Set<number>();
		for (const path of this.#paths())
			for (const line of (readOr(join(path, 'cgroup.procs')) ?? '').split('\n')) if (line !== '') found.add(Number(line));
		return [...found].filter((pid) => {
			const stat = readStat(pid);
			return stat !== undefined && !isDead(stat);
		});
	}

	isPopulated(): boolean {
		return this.pids().length > 0;
	}

	get memoryGroup(): MemoryGroup | undefined {
		return directory(this.#layout, 'memory', this.#name);
	}

	isFrozen(): boolean {
		const at = this.#freezer();
		if (at === undefined) return false;
		if (at.version === 2) return /^frozen 1$/m.test(readOr(join(at.path, 'cgroup.events')) ?? '');
		return (readOr(join(at.path, 'freezer.state')) ?? '').trim() === 'FROZEN';
	}

	/** Freezes the tree and returns when the kernel says that all of it stands. Throws TIMEOUT and thaws again. */
	async freeze(options: { signal: AbortSignal }): Promise<void> {
		const at = this.#freezer();
		if (at === undefined) throw new MvmError('UNSUPPORTED', 'this host has no freezer');
		write(join(at.path, at.version === 2 ? 'cgroup.freeze' : 'freezer.state'), at.version === 2 ? '1' : 'FROZEN');
		try {
			await this.#until(() => this.isFrozen(), FREEZE_TIMEOUT_MS, options.signal);
		} catch (cause) {
			this.#writeThaw(at);
			if (options.signal.aborted) throw cause;
			throw new MvmError('TIMEOUT', 'the process tree did not freeze in time', { cause });
		}
	}

	/** Lets the tree run again; verified by reading back. */
	async thaw(options: { signal: AbortSignal }): Promise<void> {
		const at = this.#freezer();
		if (at === undefined) throw new MvmError('UNSUPPORTED', 'this host has no freezer');
		this.#writeThaw(at);
		await this.#until(() => !this.isFrozen(), FREEZE_TIMEOUT_MS, options.signal);
	}

	/**
	 * Kills everything and returns when nothing is left. A frozen tree dies frozen: v2 kills it as it stands; under the v1
	 * freezer SIGKILL stays pending, so it is sent to all first and the thaw lets nothing but death happen.
	 */
	async kill(options: { signal: AbortSignal }): Promise<void> {
		const tree = this.#layout.mounts.v2 === undefined ? undefined : join(this.#layout.mounts.v2, this.#layout.parent, this.#name);
		const killFile = tree === undefined ? undefined : join(tree, 'cgroup.kill');
		const frozenV1 = this.#freezer()?.version === 1 && this.#freezer() !== undefined;
		await this.#until(
			() => {
				const pids = this.pids();
				if (pids.length === 0) return true;
				if (killFile !== undefined && existsSync(killFile)) write(killFile, '1');
				for (const pid of pids) signalQuietly(pid);
				const at = this.#freezer();
				if (frozenV1 && at !== undefined) this.#writeThaw(at);
				return false;
			},
			KILL_TIMEOUT_MS,
			options.signal,
		);
		const at = this.#freezer();
		if (at !== undefined) this.#writeThaw(at);
	}

	usage(): CgroupUsage {
		const memory = directory(this.#layout, 'memory', this.#name);
		const events =
			memory === undefined ? undefined : join(memory.path, memory.version === 2 ? 'memory.events' : 'memory.oom_control');
		return { oomKills: events === undefined ? 0 : keyed(events, 'oom_kill'), cpuMs: this.#cpuMs(), tasks: this.#tasks() };
	}

	/** v2 only (on v1 the page-out itself raises swappiness): whether memory may move to swap now. */
	allowSwap(allowed: boolean): void {
		const memory = directory(this.#layout, 'memory', this.#name);
		if (memory?.version !== 2) return;
		const limit = (readOr(join(memory.path, 'memory.max')) ?? 'max').trim();
		writeIfThere(join(memory.path, 'memory.swap.max'), allowed ? limit : '0');
	}

	/** Removes the groups of an instance that has no process left. */
	remove(): void {
		for (const path of this.#paths()) removeGroup(path);
	}

	#limitMemory(memMib: number): void {
		const memory = directory(this.#layout, 'memory', this.#name);
		if (memory === undefined) return;
		const bytes = String(memMib * MIB);
		if (memory.version === 2) {
			write(join(memory.path, 'memory.max'), bytes);
			writeIfThere(join(memory.path, 'memory.swap.max'), '0');
			return;
		}
		// While it runs an instance does not swap (swappiness 0): over its limit it meets the OOM killer, not the host's
		// disk. Hibernation raises swappiness for itself and needs room for all of the memory in memsw.
		const together = join(memory.path, 'memory.memsw.limit_in_bytes');
		const limit = join(memory.path, 'memory.limit_in_bytes');
		const steps = [() => writeIfThere(together, String(2 * memMib * MIB)), () => write(limit, bytes)];
		if (Number(readOr(limit) ?? 0) > memMib * MIB) steps.reverse();
		for (const step of steps) step();
		write(join(memory.path, 'memory.swappiness'), '0');
	}

	#freezer(): { version: 1 | 2; path: string } | undefined {
		const { mounts, parent, freezer } = this.#layout;
		const mount = freezer === 2 ? mounts.v2 : freezer === 1 ? mounts.v1.freezer : undefined;
		return mount === undefined || freezer === undefined ? undefined : { version: freezer, path: join(mount, parent, this.#name) };
	}

	#writeThaw(at: { version: 1 | 2; path: string }): void {
		if (!existsSync(at.path)) return;
		write(join(at.path, at.version === 2 ? 'cgroup.freeze' : 'freezer.state'), at.version === 2 ? '0' : 'THAWED');
	}

	#cpuMs(): number {
		const { mounts, parent } = this.#layout;
		if (mounts.v1.cpuacct !== undefined) {
			const nanoseconds = Number(readOr(join(mounts.v1.cpuacct, parent, this.#name, 'cpuacct.usage')) ?? 0);
			return Math.round(nanoseconds / 1e6);
		}
		const tree = mounts.v2 === undefined ? undefined : join(mounts.v2, parent, this.#name, 'cpu.stat');
		return tree === undefined ? 0 : Math.round(keyed(tree, 'usage_usec') / 1000);
	}

	#tasks(): number {
		const pids = directory(this.#layout, 'pids', this.#name);
		return pids === undefined ? this.pids().length : Number((readOr(join(pids.path, 'pids.current')) ?? '0').trim());
	}

	#paths(): string[] {
		return roots(this.#layout.mounts).map((mount) => join(mount, this.#layout.parent, this.#name));
	}

	async #until(done: () => boolean, timeoutMs: number, signal: AbortSignal): Promise<void> {
		const deadline = this.#clock.monotonic() + timeoutMs;
		while (!done()) {
			if (this.#clock.monotonic() > deadline) throw new MvmError('TIMEOUT', 'the kernel did not confirm in time');
			await this.#clock.sleep(POLL_MS, { signal });
		}
	}
}

function roots(mounts: CgroupMounts): string[] {
	const all = Object.values(mounts.v1);
	if (mounts.v2 !== undefined) all.push(mounts.v2);
	return [...new Set(all)];
}

function directory(layout: Layout, controller: Controller, name: string): { version: 1 | 2; path: string } | undefined {
	const v1 = layout.mounts.v1[controller satisfies V1Controller];
	if (v1 !== undefined) return { version: 1, path: join(v1, layout.parent, name) };
	if (layout.mounts.v2 === undefined || !layout.v2On.has(controller)) return undefined;
	return { version: 2, path: join(layout.mounts.v2, layout.parent, name) };
}

/** Creates the v2 parent and switches on what it offers for the children; returns what is really on. */
function enableV2(mount: string, parent: string, controllers: readonly string[]): Set<string> {
	makeGroup(join(mount, parent));
	const wanted = controllers.filter((name) => name === 'memory' || name === 'pids' || name === 'cpu');
	for (const name of wanted)
		for (const place of [mount, join(mount, parent)]) {
			try {
				writeFileSync(join(place, 'cgroup.subtree_control'), `+${name}`);
			} catch {
				// A busy or delegated parent refuses: the controller then counts as missing, which capabilities report.
			}
		}
	return new Set((readOr(join(mount, parent, 'cgroup.subtree_control')) ?? '').trim().split(/\s+/));
}

function keyed(path: string, key: string): number {
	return Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(readOr(path) ?? '')?.[1] ?? 0);
}

function makeGroup(path: string): void {
	mkdirSync(path, { recursive: true, mode: 0o755 });
}

function removeGroup(path: string): void {
	try {
		rmdirSync(path);
	} catch (error) {
		// Busy means that somebody still lives in it, absent that it is done; both are fine for a best-effort removal.
		if (!['EBUSY', 'ENOENT', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
	}
}

function write(path: string, value: string): void {
	try {
		writeFileSync(path, value);
	} catch (cause) {
		throw new MvmError('HOST_UNSUPPORTED', `the kernel refused ${value} for ${path}`, { details: { path, value }, cause });
	}
}

function writeIfThere(path: string, value: string): void {
	if (existsSync(path)) write(path, value);
}

function readOr(path: string): string | undefined {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return undefined;
	}
}

function signalQuietly(pid: number): void {
	try {
		process.kill(pid, 'SIGKILL');
	} catch {
		// Gone already: the loop's next look counts the living.
	}
}
