// Finds the principal of a request: the admin socket is the operator (its file mode is the check), everybody else shows
// an API key. Compares hashes in constant time and says nothing about why a credential is not valid.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { MvmError, type TenantId } from '@mvm/protocol';
import { shortCache } from '../ingress/index.ts';
import type { Clock } from '../ports/clock.ts';
import type { Principal } from './principal.ts';

/** A stored API key; the key itself is nowhere. */
export interface StoredKey {
	readonly id: string;
	/** Null for an operator's key. */
	readonly tenantId: TenantId | null;
	readonly role: 'operator' | 'tenant_admin' | 'tenant_user';
	/** SHA-256 of the whole key. */
	readonly hash: Uint8Array;
	readonly isRevoked: boolean;
}

/** Where a request came in. */
export type Door = 'admin' | 'public';

export type Authenticate = (door: Door, headers: IncomingHttpHeaders) => Promise<Principal>;

const KEY = /^mvm_(key-[0-9a-f]{8})_[A-Za-z0-9_-]{32,64}$/;

/** The text of a new key and what is stored of it; `random` has at least 32 bytes. */
export function makeKeyText(id: string, random: Uint8Array): { readonly text: string; readonly hash: Buffer } {
	const text = `mvm_${id}_${Buffer.from(random.subarray(0, 32)).toString('base64url')}`;
	return { text, hash: hashKey(text) };
}

const hashKey = (text: string): Buffer => createHash('sha256').update(text).digest();

/** The returned function throws UNAUTHENTICATED. A revoked key stops working within a second. */
export function makeAuthenticate(deps: {
	readonly findKey: (id: string) => Promise<StoredKey | undefined>;
	readonly clock: Clock;
}): Authenticate {
	const find = shortCache(deps.clock, (id: string) => id, deps.findKey);
	return async (door, headers) => {
		if (door === 'admin') return { role: 'operator', actor: 'operator:admin-socket' };
		const text = bearerOf(headers);
		const id = text === undefined ? undefined : KEY.exec(text)?.[1];
		const key = id === undefined ? undefined : await find(id);
		if (text === undefined || key === undefined || !isKey(key, text)) throw unauthenticated();
		const actor = `key:${key.id}`;
		if (key.role === 'operator') return { role: 'operator', actor };
		if (key.tenantId === null) throw unauthenticated();
		return { role: key.role, tenantId: key.tenantId, actor };
	};
}

function isKey(key: StoredKey, text: string): boolean {
	const hash = hashKey(text);
	return key.hash.byteLength === hash.byteLength && timingSafeEqual(key.hash, hash) && !key.isRevoked;
}

function bearerOf(headers: IncomingHttpHeaders): string | undefined {
	return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
}

const unauthenticated = (): MvmError =>
	new MvmError('UNAUTHENTICATED', 'this needs a valid API key', {
		hint: 'send it as Authorization: Bearer mvm_…; on the host itself the admin socket needs none',
	});
