// mvm-hostd: the privileged half of mvm. Started by `mvm up` or a service manager; everything it can do to instances is
// behind its socket. Ends on SIGTERM or SIGINT without touching a sandbox;
// SIGINT, sent once all instances rest, also takes the managed swap off. Its code cache is NODE_COMPILE_CACHE or none: the default
// lies below /tmp, where others could plant code for root.
import { parseArgs } from 'node:util';
import { MvmError } from '@mvm/protocol';
import { systemClock } from '../drivers/clock/system.ts';
import { makeImageStore } from '../drivers/runtime/images/image-store.ts';
import { parseConfig } from '../platform/config.ts';
import { closeInheritedDescriptors } from '../platform/descriptors.ts';
import { makeLogger } from '../platform/logger.ts';
import { readConfig } from './read-config.ts';
import { type HostdConfig, type HostdImages, type ImageContext, runHostd } from './run-hostd.ts';

closeInheritedDescriptors();
process.umask(0o022);
const log = makeLogger({ service: 'hostd', level: process.env['MVM_LOG_LEVEL'] ?? 'info' });
const ended = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => ended.abort(signal));
try {
	await runHostd(parseFlags(process.argv.slice(2)), { log, images: imageStore }, ended.signal);
	process.exit(0);
} catch (err) {
	log.fatal({ err }, 'hostd failed');
	process.exit(1);
}

function parseFlags(args: readonly string[]): HostdConfig {
	const text = { type: 'string' } as const;
	const options = { 'data-dir': text, 'run-dir': text, 'daemon-uid': text, 'daemon-gid': text, dist: text, config: text };
	const { values } = parseArgs({ args: [...args], options });
	const need = (name: keyof typeof options): string => {
		const value = values[name];
		if (value === undefined) throw new MvmError('USAGE', `mvm-hostd needs --${name}`);
		return value;
	};
	const id = (name: 'daemon-uid' | 'daemon-gid'): number => {
		const value = Number(values[name] ?? 0);
		if (!Number.isSafeInteger(value) || value < 0) throw new MvmError('USAGE', `--${name} must be a number`);
		return value;
	};
	return {
		dataDir: need('data-dir'),
		runDir: need('run-dir'),
		dist: need('dist'),
		swap: parseConfig(values.config === undefined ? '' : readConfig(values.config)).swap,
		daemon: { uid: id('daemon-uid'), gid: id('daemon-gid') },
	};
}

/** npm's own environment is all that the store looks at of ours. */
function imageStore(context: ImageContext): HostdImages {
	return makeImageStore({ ...context, clock: systemClock, env: process.env });
}
