// The contract suite through a hostd that runs as an ordinary user from a copy of the checkout: what is weaker is a named skip here
// and a condition there.
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyCheckout } from '../../../../../../test/support/checkout-copy.ts';
import { HostdProcess } from '../../../../../../test/support/hostd-process.ts';
import { makeProbeFolders, PROBE_IMAGE_HASH, type ProbeFolders } from '../../../../../../test/support/probe-host.ts';
import { type RuntimeHarness, runtimeContract } from '../../../ports/runtime.contract.ts';
import { systemClock } from '../../clock/system.ts';

const NOBODY = 65_534;

let folders: ProbeFolders;
let copy: string;
beforeAll(() => {
	folders = makeProbeFolders();
	copy = `${folders.root}/copy`;
	copyCheckout(copy);
	for (const folder of [folders.dataDir, folders.runDir]) {
		mkdirSync(folder, { mode: 0o711 });
		chmodSync(folder, 0o711);
		chownSync(folder, NOBODY, NOBODY);
	}
});
afterAll(() => folders.remove());

const hostdAsUser = (): HostdProcess => new HostdProcess({ folders, as: { uid: NOBODY, copy } });

runtimeContract('process driver without root', {
	skips: {
		users: 'one uid for all of an instance',
		limits: 'no control groups',
		'disk limit': 'no loop devices',
		'memory snapshot': 'no right to page out',
	},
	harness: async (): Promise<RuntimeHarness> => {
		const hostd = hostdAsUser();
		let client = await hostd.start();
		return {
			image: PROBE_IMAGE_HASH,
			clock: systemClock,
			runtime: () => client,
			restart: async () => {
				await hostd.end('SIGKILL');
				client = await hostd.start();
			},
			[Symbol.asyncDispose]: async () => {
				expect(await hostd.end('SIGTERM')).toBe(0);
			},
		};
	},
});

describe('hostd without root', () => {
	it('says what is weaker', async () => {
		const hostd = hostdAsUser();
		const client = await hostd.start();
		try {
			const { conditions, snapshot, freeze } = await client.capabilities({ signal: AbortSignal.timeout(10_000) });
			const types = conditions.filter((condition) => condition.status).map((condition) => condition.type);
			expect(types.sort()).toEqual([
				'DiskLimitMeasured',
				'FreezeBySignal',
				'LimitsNotEnforced',
				'SecretsMaySwap',
				'SingleUid',
				'Unprivileged',
			]);
			expect({ snapshot, freeze }).toEqual({ snapshot: false, freeze: true });
		} finally {
			await hostd.end('SIGTERM');
		}
	});
});
