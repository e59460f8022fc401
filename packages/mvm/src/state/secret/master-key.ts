// The key that secrets are encrypted under, in a file of its own: made once, readable by its owner only. Opened by main/.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { inspect } from 'node:util';
import { MvmError, type TenantId } from '@mvm/protocol';
import { SecretValue } from '../../platform/secret-value.ts';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What a sealed value is bound to: moved to another row it does not open. */
export interface SealedFor {
	readonly tenantId: TenantId;
	readonly name: string;
	readonly version: number;
}

export interface Sealed {
	readonly keyId: string;
	readonly nonce: Buffer;
	/** The tag is appended. */
	readonly ciphertext: Buffer;
}

export class MasterKey {
	/** First 16 hex digits of the key's sha256; stored beside every value. */
	readonly id: string;
	readonly #key: Buffer;

	constructor(key: Buffer) {
		if (key.length !== KEY_BYTES) throw new RangeError(`a master key has ${KEY_BYTES} bytes`);
		this.#key = key;
		this.id = createHash('sha256').update(key).digest('hex').slice(0, 16);
	}

	seal(value: SecretValue, bound: SealedFor): Sealed {
		const nonce = randomBytes(NONCE_BYTES);
		const cipher = createCipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES });
		cipher.setAAD(additionalData(bound));
		const ciphertext = Buffer.concat([cipher.update(value.reveal(), 'utf8'), cipher.final(), cipher.getAuthTag()]);
		return { keyId: this.id, nonce, ciphertext };
	}

	/** Throws SECRET_UNDECRYPTABLE when another key sealed it, or it was changed or moved. */
	open(sealed: Sealed, bound: SealedFor): SecretValue {
		const { tenantId, name, version } = bound;
		const details = { tenant_id: tenantId, name, version, key_id: sealed.keyId, present_key_id: this.id };
		if (sealed.keyId !== this.id) {
			throw new MvmError('SECRET_UNDECRYPTABLE', `secret ${name} of ${tenantId} was encrypted under another key`, {
				details,
				hint: 'put the master.key back that it was set with, or set the secret again: mvm tenant secrets set',
			});
		}
		try {
			const body = sealed.ciphertext.subarray(0, -TAG_BYTES);
			const decipher = createDecipheriv(ALGORITHM, this.#key, sealed.nonce, { authTagLength: TAG_BYTES });
			decipher.setAAD(additionalData(bound));
			decipher.setAuthTag(sealed.ciphertext.subarray(-TAG_BYTES));
			return new SecretValue(Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8'));
		} catch (cause) {
			throw new MvmError('SECRET_UNDECRYPTABLE', `secret ${name} of ${tenantId} was changed outside of the platform`, {
				details,
				hint: 'set the secret again: mvm tenant secrets set',
				cause,
			});
		}
	}

	toJSON(): string {
		return `[master key ${this.id}]`;
	}

	[inspect.custom](): string {
		return this.toJSON();
	}
}

/** Unambiguous: neither tenant ids nor secret names contain a slash. */
function additionalData({ tenantId, name, version }: SealedFor): Buffer {
	return Buffer.from(`mvm-secret/1/${tenantId}/${name}/${version}`, 'utf8');
}

/**
 * Reads the key file, or makes it (0600, in a 0700 folder) when it is not there; two processes get the same key. Throws
 * CONFIG_INVALID when others may read it or it is not a key.
 */
export function openMasterKey(path: string): MasterKey {
	try {
		return readKey(path);
	} catch (error) {
		if ((error as { code?: string }).code !== 'ENOENT') throw error;
	}
	mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
	const fresh = `${path}.${randomBytes(6).toString('hex')}`;
	const file = openSync(fresh, 'wx', 0o600);
	try {
		writeSync(file, randomBytes(KEY_BYTES).toString('hex'));
		fsyncSync(file);
		linkSync(fresh, path); // never replaces a key that is there
		syncFolder(dirname(path));
	} catch (error) {
		if ((error as { code?: string }).code !== 'EEXIST') throw error;
	} finally {
		closeSync(file);
		rmSync(fresh, { force: true });
	}
	return readKey(path);
}

function readKey(path: string): MasterKey {
	const file = openSync(path, 'r');
	try {
		const { mode } = fstatSync(file);
		if ((mode & 0o077) !== 0) {
			throw new MvmError('CONFIG_INVALID', `the master key may be read by others: ${path}`, {
				details: { path, mode: (mode & 0o777).toString(8) },
				hint: `chmod 600 ${path}, and set every secret again if somebody else had access`,
			});
		}
		const text = readFileSync(file, 'utf8').trim();
		if (!/^[0-9a-f]{64}$/.test(text)) {
			throw new MvmError('CONFIG_INVALID', `this is not a master key: ${path}`, {
				details: { path },
				hint: 'put the right file back; without it no stored secret can be read',
			});
		}
		return new MasterKey(Buffer.from(text, 'hex'));
	} finally {
		closeSync(file);
	}
}

function syncFolder(path: string): void {
	const folder = openSync(path, 'r');
	try {
		fsyncSync(folder);
	} finally {
		closeSync(folder);
	}
}
