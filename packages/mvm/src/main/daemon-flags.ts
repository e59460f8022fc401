// The daemon's command line.
import { parseArgs } from 'node:util';
import { MvmError } from '@mvm/protocol';

export interface DaemonFlags {
	readonly dataDir: string;
	readonly runDir: string;
	readonly config: string;
	readonly listen?: string;
}

/** Throws USAGE naming the flag that is missing. */
export function parseDaemonFlags(args: readonly string[]): DaemonFlags {
	const text = { type: 'string' } as const;
	const { values } = parseArgs({ args: [...args], options: { 'data-dir': text, 'run-dir': text, config: text, listen: text } });
	const need = (name: 'data-dir' | 'run-dir' | 'config'): string => {
		const value = values[name];
		if (value === undefined) throw new MvmError('USAGE', `the daemon needs --${name}`);
		return value;
	};
	return {
		dataDir: need('data-dir'),
		runDir: need('run-dir'),
		config: need('config'),
		...(values.listen === undefined ? {} : { listen: values.listen }),
	};
}
