// Which life of the instance this is: presented on every link connection, replaced by PostRestore. Never logged.
import { closeSync, readFileSync } from 'node:fs';

export interface Identity {
	readonly incarnation: number;
	readonly token: string;
}

export interface IdentityHolder {
	current(): Identity;
	replace(next: Identity): void;
}

/** Throws when the descriptor holds something else; without an identity there is no use in starting. */
export function readIdentity(fd: number): IdentityHolder {
	const value = JSON.parse(readFileSync(fd, 'utf8')) as Partial<Identity> | null;
	closeSync(fd);
	if (!Number.isInteger(value?.incarnation) || typeof value?.token !== 'string' || value.token === '')
		throw new Error(`descriptor ${fd} holds no {incarnation, token}`);
	let identity: Identity = { incarnation: Number(value.incarnation), token: value.token };
	return {
		current: () => identity,
		replace: (next) => {
			identity = next;
		},
	};
}
