// The contract suite over the process driver in this very process, once with each freezer.
import { afterAll, beforeAll } from 'vitest';
import {
	makeProbeFolders,
	PROBE_COMMAND,
	PROBE_IMAGE,
	PROBE_IMAGE_HASH,
	type ProbeFolders,
} from '../../../../../../test/support/probe-host.ts';
import { closeInheritedDescriptors } from '../../../platform/descriptors.ts';
import { silentLogger } from '../../../platform/logger.ts';
import { type RuntimeHarness, runtimeContract } from '../../../ports/runtime.contract.ts';
import { systemClock } from '../../clock/system.ts';
import { makeProcessRuntime } from './driver.ts';
import { openProcessHost, type ProcessHost } from './host.ts';

const noImages = { installImage: () => Promise.reject(new Error('none')), listImages: async () => [], gcImages: async () => [] };

async function open(folders: ProbeFolders, freezer: 1 | 2): Promise<ProcessHost> {
	const { dataDir, runDir, dist, claimsDir } = folders;
	return openProcessHost(
		{
			dataDir,
			runDir,
			claimsDir,
			daemon: { uid: 0, gid: 0 },
			guestDir: `${dist}/guest`,
			guestCommand: PROBE_COMMAND,
			cgroupParent: `mvm-test-${process.pid}-${freezer}`,
			freezer,
		},
		{ clock: systemClock, log: silentLogger, resolveImage: async () => PROBE_IMAGE },
		{ signal: AbortSignal.timeout(30_000) },
	);
}

let folders: ProbeFolders;
beforeAll(() => {
	closeInheritedDescriptors();
	folders = makeProbeFolders();
});
afterAll(() => folders.remove());

for (const freezer of [2, 1] as const)
	runtimeContract(`process driver, cgroup v${freezer} freezer`, {
		skips: {},
		harness: async (): Promise<RuntimeHarness> => {
			let host = await open(folders, freezer);
			return {
				image: PROBE_IMAGE_HASH,
				clock: systemClock,
				runtime: () => makeProcessRuntime(host, { images: noImages }),
				// Everything the driver knows is on disk and in the kernel: a new one over the same folders must find it all.
				restart: async () => {
					host = await open(folders, freezer);
				},
				[Symbol.asyncDispose]: async () => host.abilities.cgroups?.removeParents(),
			};
		},
	});
