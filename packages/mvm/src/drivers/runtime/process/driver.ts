// The process driver: the runtime port over bubblewrap, control groups and a uid range per instance. Lives inside mvm-hostd
// and nowhere else; everything it is told was validated by the server in front of it.
import { type Condition, type InstanceId, MvmError } from '@mvm/protocol';
import type { CallOptions, Runtime, RuntimeCapabilities } from '../../../ports/runtime.ts';
import { bootInstance, refuseErasing } from './boot.ts';
import { tailConsole } from './console-log.ts';
import { checkpointInstance, restoreInstance } from './data.ts';
import { destroyInstance, stopInstance } from './end.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import { observe } from './observe.ts';
import { prepareInstance } from './prepare.ts';
import { freezeInstance, prefetchInstance, snapshotInstance, thawInstance } from './rest.ts';
import { WORKLOAD_UID } from './uids.ts';

const MAX_LOG_TAIL_BYTES = 1024 * 1024;

/** The image half of the port; the image store implements it. */
export type ImageCalls = Pick<Runtime, 'installImage' | 'listImages' | 'gcImages'>;

export interface RuntimeParts {
	readonly images: ImageCalls;
	/** Conditions that change while hostd runs, such as those of the swap. */
	readonly moreConditions?: () => Promise<readonly Condition[]>;
}

/** Makes the driver over an opened host. */
export function makeProcessRuntime(host: ProcessHost, { images, moreConditions }: RuntimeParts): Runtime {
	const known = (id: InstanceId) => host.slots.get(id);
	/** One change of an instance under its lock, logged when it is done. */
	const change = async <T>(message: string, id: InstanceId, options: CallOptions, run: () => Promise<T>): Promise<T> => {
		const began = host.clock.monotonic();
		const result = await host.exclusively(id, options, run);
		host.log.info({ instance_id: id, ms: Math.round(host.clock.monotonic() - began) }, message);
		return result;
	};
	return {
		capabilities: async () => capabilities(host, (await moreConditions?.()) ?? []),
		prepare: (input, options) => host.exclusively(input.instanceId, options, () => prepareInstance(host, input, options)),
		boot: (input, options) => change('instance booted', input.instanceId, options, () => bootInstance(host, input, options)),
		freeze: (id, options) => change('instance frozen', id, options, () => freezeInstance(host, id, options)),
		thaw: (input, options) => change('instance thawed', input.instanceId, options, () => thawInstance(host, input, options)),
		snapshot: (id, options) => change('instance paged out', id, options, () => snapshotInstance(host, id, options)),
		prefetch: (id, options) => host.exclusively(id, options, () => prefetchInstance(host, id, options)),
		restore: async () => {
			throw new MvmError('UNSUPPORTED', 'the process driver has no memory snapshot that outlives its processes');
		},
		stop: (input, options) => change('instance stopped', input.instanceId, options, () => stopInstance(host, input, options)),
		destroy: (id, options) => change('instance destroyed', id, options, () => destroyInstance(host, id, options)),
		inspect: async (id) => {
			const record = host.slots.find(id);
			return record === undefined ? undefined : observe(host, record);
		},
		adopt: () => Promise.all(host.slots.all().map((record) => observe(host, record))),
		writeSecrets: (input, options) =>
			host.exclusively(input.instanceId, options, async () => {
				const record = known(input.instanceId);
				refuseErasing(record);
				const range = host.range(record.slot);
				const path = pathsOf(host, record).secrets;
				await host.secrets.ensure(path, options);
				host.secrets.write(path, input.files, range === undefined ? undefined : range.base + WORKLOAD_UID);
				host.slots.put({ ...record, secretsEpoch: input.epoch });
			}),
		checkpointData: async (id, options) => checkpointInstance(host, id, options),
		restoreData: (id, entries, options) => host.exclusively(id, options, () => restoreInstance(host, id, entries, options)),
		...images,
		logs: async ({ instanceId, tailBytes }) =>
			tailConsole(pathsOf(host, known(instanceId)).consoleLog, Math.min(tailBytes, MAX_LOG_TAIL_BYTES)),
	};
}

function capabilities(host: ProcessHost, more: readonly Condition[]): RuntimeCapabilities {
	const { root, cgroups, conditions } = host.abilities;
	return {
		driver: 'process',
		isolation: 'namespaces',
		freeze: true,
		snapshot: root && cgroups?.canLimitMemory === true && cgroups.canFreeze,
		bridgeNetwork: false,
		conditions: [...conditions, ...more],
	};
}
