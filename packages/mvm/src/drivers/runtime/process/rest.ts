// Freeze, thaw, page out, read back. Each looks at the kernel before and after; none of them starts or ends a process.
import { type InstanceId, MvmError } from '@mvm/protocol';
import type { Observed, SnapshotResult } from '../../../ports/runtime.ts';
import { requireNewer } from './boot.ts';
import { pageOut } from './hibernate.ts';
import { prefetch } from './hibernate-prefetch.ts';
import type { ProcessHost } from './host.ts';
import { observe } from './observe.ts';
import type { SlotRecord } from './slots.ts';
import type { ProcessTree } from './tree.ts';

type Options = { readonly signal: AbortSignal };

/** Called under the instance's lock, like everything here. */
export async function freezeInstance(host: ProcessHost, id: InstanceId, options: Options): Promise<Observed> {
	const { record, tree } = live(host, id);
	if (!tree.isFrozen()) await tree.freeze(options);
	return observe(host, record, { full: false });
}

/** Also accepts a tree that runs already: then only the new incarnation is recorded. Repeating the same one is fine. */
export async function thawInstance(
	host: ProcessHost,
	input: { instanceId: InstanceId; incarnation: number },
	options: Options,
): Promise<Observed> {
	const { record, tree } = live(host, input.instanceId);
	const repeated = record.incarnation === input.incarnation && !tree.isFrozen();
	if (!repeated) requireNewer(record, input.incarnation);
	const woken = host.slots.put({ ...record, incarnation: input.incarnation, hibernated: false });
	if (tree.isFrozen()) await tree.thaw(options);
	host.cgroup(record.slot)?.allowSwap(false);
	return observe(host, woken, { full: false });
}

export async function snapshotInstance(host: ProcessHost, id: InstanceId, options: Options): Promise<SnapshotResult> {
	const { record, tree } = live(host, id);
	requireFrozen(record, tree);
	const cgroup = host.cgroup(record.slot);
	const group = cgroup?.memoryGroup;
	if (cgroup === undefined || group === undefined)
		throw new MvmError('SNAPSHOT_UNAVAILABLE', 'this host cannot page an instance out', {
			hint: 'start as root with a memory controller',
		});
	cgroup.allowSwap(true);
	const result = await pageOut(group, options);
	host.slots.put({ ...record, hibernated: true });
	return result;
}

export async function prefetchInstance(host: ProcessHost, id: InstanceId, options: Options): Promise<{ bytes: number }> {
	const { record, tree } = live(host, id);
	requireFrozen(record, tree);
	if (!host.abilities.root) return { bytes: 0 };
	return prefetch(tree.pids(), options);
}

function requireFrozen(record: SlotRecord, tree: ProcessTree): void {
	if (!tree.isFrozen()) throw new MvmError('NOT_QUIESCENT', `instance ${record.instanceId} is not frozen`);
}

function live(host: ProcessHost, id: InstanceId): { record: SlotRecord; tree: ProcessTree } {
	const record = host.slots.get(id);
	const tree = host.tree(record);
	if (tree.pids().length === 0)
		throw new MvmError('NOT_RUNNING', `instance ${id} has no live process`, { details: { instance_id: id } });
	return { record, tree };
}
