// Reads the operator's configuration file; parsing is platform/config.ts.
import { readFileSync } from 'node:fs';
import { MvmError } from '@mvm/protocol';

/** The text of mvm.toml; empty when there is none. Throws CONFIG_INVALID when it cannot be read. */
export function readConfig(path: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
		throw new MvmError('CONFIG_INVALID', `${path} cannot be read`, { cause: error });
	}
}
