// Link tokens are derived, not stored: the same instance and incarnation give the same token after a daemon restart, so that a
// guest which lived on is recognised, and nothing that a guest says has to be kept.
import { createHmac, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type InstanceId, MvmError } from '@mvm/protocol';

const KEY_BYTES = 32;

/** Opens or makes the key file (0600) in the folder of keys. */
export function linkTokens(keysDir: string): (id: InstanceId, incarnation: number) => string {
	const key = openKey(join(keysDir, 'link.key'));
	return (id, incarnation) => createHmac('sha256', key).update(`${id}/${incarnation}`).digest('base64url');
}

function openKey(path: string): Buffer {
	try {
		const fd = openSync(path, 'wx', 0o600);
		const key = randomBytes(KEY_BYTES);
		writeSync(fd, key);
		fsyncSync(fd);
		closeSync(fd);
		return key;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
	}
	const key = readFileSync(path);
	if (key.length === KEY_BYTES) return key;
	throw new MvmError('CONFIG_INVALID', `${path} is damaged`, {
		hint: 'remove it and restart; running instances will boot cold once',
	});
}
