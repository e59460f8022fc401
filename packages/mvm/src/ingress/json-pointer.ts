// Reads the event id and the order key of a webhook's body (RFC 6901 pointers). Called by accept; must never throw on
// what a stranger sent, and must never round a number: two ids that differ in the 17th digit are two events.
import { createHash } from 'node:crypto';

/** Longest key that is stored as it is; longer ones are stored as their hash (an index row has a limit). */
const MAX_KEY_LENGTH = 256;

interface SourceContext {
	readonly source?: string;
}

/** Parses JSON and keeps numbers that do not fit a double as their text; undefined when it is no JSON. */
export function parseLossless(body: Uint8Array): unknown {
	try {
		const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
		const keep = (_key: string, value: unknown, context?: SourceContext): unknown =>
			typeof value === 'number' && !Number.isSafeInteger(value) && context?.source !== undefined ? context.source : value;
		return JSON.parse(text, keep as (key: string, value: unknown) => unknown);
	} catch {
		return undefined;
	}
}

/** The value at `pointer`, or undefined when there is none. */
export function atPointer(document: unknown, pointer: string): unknown {
	if (pointer === '') return document;
	if (!pointer.startsWith('/')) return undefined;
	let at: unknown = document;
	for (const raw of pointer.slice(1).split('/')) {
		const token = raw.replaceAll('~1', '/').replaceAll('~0', '~');
		if (Array.isArray(at)) at = /^(0|[1-9][0-9]*)$/.test(token) ? at[Number(token)] : undefined;
		else if (typeof at === 'object' && at !== null && Object.hasOwn(at, token)) at = (at as Record<string, unknown>)[token];
		else return undefined;
	}
	return at;
}

/** A scalar as a key that every store accepts; undefined for objects, null, empty text and absent values. */
export function keyText(value: unknown): string | undefined {
	if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return undefined;
	const text = String(value);
	if (text === '') return undefined;
	const plain = text.length <= MAX_KEY_LENGTH && !/[\u0000-\u001f\u007f]/.test(text) && !/\p{Surrogate}/u.test(text);
	return plain ? text : `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** The event id when the body has none: equal bodies are one event. */
export function bodyKey(body: Uint8Array): string {
	return `body:${createHash('sha256').update(body).digest('hex')}`;
}
