// Externally tagged messages: `"Ping"` for a bare one, `{"SleepPrep":{…}}` for one with fields. In TypeScript both are
// members of a union on `kind`. Decoding tolerates other versions of the peer: missing optional fields get their default,
// unknown fields are dropped, an unknown tag becomes kind `Unknown`. Used by the message files beside this one.
import type * as z from 'zod/mini';
import { type Codec, codec } from '../codec/codec.ts';
import type { Camel } from '../codec/names.ts';
import { MvmError } from '../errors/mvm-error.ts';

/** The bare message: no fields. */
export const bare = null;
type Table = Readonly<Record<string, z.ZodMiniType | null>>;

/** A message of the table. */
export type Message<T extends Table> = {
	[K in keyof T & string]: T[K] extends z.ZodMiniType ? { readonly kind: K } & Camel<z.output<T[K]>> : { readonly kind: K };
}[keyof T & string];

/** A message of a newer peer; `tag` is its name. */
export interface UnknownMessage {
	readonly kind: 'Unknown';
	readonly tag: string;
}

export interface Tagged<T extends Table> {
	/** The JSON value of a message, fields in the order of the table. Throws INTERNAL when it does not fit. */
	encode(message: Message<T>): unknown;
	/** The message of a JSON value. Throws GUEST_PROTOCOL when it is no tagged message, or a known one with wrong fields. */
	decode(wire: unknown): Message<T> | UnknownMessage;
}

/** Makes the pair of functions for one conversation. `what` names it in errors. */
export function tagged<T extends Table>(what: string, table: T): Tagged<T> {
	const codecs = new Map<string, Codec<z.ZodMiniType> | null>(
		Object.entries(table).map(([tag, schema]) => [tag, schema === null ? null : codec(schema)]),
	);
	return {
		encode(message) {
			const { kind, ...fields } = message as { kind: string } & Record<string, unknown>;
			const found = codecs.get(kind);
			if (found === undefined) throw new MvmError('INTERNAL', `there is no ${what} of this kind`, { details: { kind } });
			return found === null ? kind : { [kind]: found.encode(fields) };
		},
		decode(wire) {
			const { tag, fields } = split(what, wire);
			const found = codecs.get(tag);
			if (found === undefined) return { kind: 'Unknown', tag: tag.slice(0, 100) };
			if (found === null) return { kind: tag } as Message<T>;
			const parsed = found.parse(fields, { code: 'GUEST_PROTOCOL', what: `${what} ${tag}` }) as object;
			return { kind: tag, ...parsed } as Message<T>;
		},
	};
}

function split(what: string, wire: unknown): { tag: string; fields: unknown } {
	if (typeof wire === 'string') return { tag: wire, fields: undefined };
	if (typeof wire === 'object' && wire !== null && !Array.isArray(wire)) {
		const [only, ...more] = Object.entries(wire);
		if (only && more.length === 0) return { tag: only[0], fields: only[1] };
	}
	throw new MvmError('GUEST_PROTOCOL', `this is not a ${what}: a string or an object with one key is expected`);
}
