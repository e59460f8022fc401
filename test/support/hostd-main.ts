// A real mvm-hostd process for host tests: everything but the image store, which is one probe image. Started by file name.
import { MvmError } from '@mvm/protocol';
import { runHostd } from '../../packages/mvm/src/main/run-hostd.ts';
import { closeInheritedDescriptors } from '../../packages/mvm/src/platform/descriptors.ts';
import { makeLogger } from '../../packages/mvm/src/platform/logger.ts';
import { PROBE_COMMAND, PROBE_IMAGE, PROBE_IMAGE_HASH } from './probe-host.ts';

closeInheritedDescriptors();
const [dataDir = '', runDir = '', dist = '', claimsDir = '', swapMib = '0'] = process.argv.slice(2);
const ended = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => ended.abort(signal));
const resolve = async (hash: string): Promise<typeof PROBE_IMAGE> => {
	if (hash === PROBE_IMAGE_HASH) return PROBE_IMAGE;
	throw new MvmError('IMAGE_NOT_FOUND', 'only the probe image is here');
};
const none = async (): Promise<never> => {
	throw new MvmError('UNSUPPORTED', 'no image store');
};
const images = () => ({ resolve, installImage: none, listImages: async () => [], gcImages: async () => [] });
const daemon = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
const log = makeLogger({ service: 'hostd', level: 'warn' });
const swap = swapMib === '0' ? {} : { swap: { sizeMib: Number(swapMib), zswap: false } };
await runHostd({ dataDir, runDir, dist, claimsDir, daemon, guestCommand: PROBE_COMMAND, ...swap }, { log, images }, ended.signal);
process.exit(0);
