// Renames the keys of a value as its schema says: keys of objects with a shape change, keys of records never do.
// Pure; called by codec.ts on values that the schema has accepted (or is about to judge).
import type * as z from 'zod/mini';
import { camelKey } from './names.ts';

type Schema = z.core.$ZodType;
interface Def {
	readonly type: string;
	readonly innerType?: Schema;
	readonly shape?: Record<string, Schema>;
	readonly element?: Schema;
	readonly valueType?: Schema;
	readonly options?: readonly Schema[];
	readonly discriminator?: string;
	readonly values?: readonly unknown[];
}
const defOf = (schema: Schema): Def => (schema as unknown as { _zod: { def: Def } })._zod.def;

/** `camel`: wire to TypeScript. `snake`: TypeScript to wire. */
export type Direction = 'camel' | 'snake';

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
	typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value with its keys renamed; keys the schema does not know stay as they are, for the schema to judge. */
export function rename(schema: Schema, value: unknown, direction: Direction): unknown {
	const def = defOf(schema);
	switch (def.type) {
		case 'optional':
		case 'nullable':
		case 'default':
		case 'prefault':
		case 'catch':
		case 'readonly':
			return value === undefined || value === null || !def.innerType ? value : rename(def.innerType, value, direction);
		case 'object':
			return isPlainObject(value) ? renameObject(def.shape ?? {}, value, direction) : value;
		case 'record':
			return isPlainObject(value) ? mapValues(value, (v) => (def.valueType ? rename(def.valueType, v, direction) : v)) : value;
		case 'array':
			return Array.isArray(value) ? value.map((v) => (def.element ? rename(def.element, v, direction) : v)) : value;
		case 'union':
			return renameUnion(def, value, direction);
		case 'pipe':
		case 'transform':
		case 'lazy':
		case 'intersection':
		case 'tuple':
			throw new TypeError(`the codec does not carry schemas of type ${def.type}`);
		default:
			return value;
	}
}

function renameObject(shape: Record<string, Schema>, value: Record<string, unknown>, direction: Direction): unknown {
	const known = new Map(
		Object.entries(shape).map(([snake, schema]) => {
			const camel = camelKey(snake);
			return direction === 'camel' ? [snake, { to: camel, schema }] : [camel, { to: snake, schema }];
		}),
	);
	const out: Record<string, unknown> = {};
	for (const [key, v] of Object.entries(value)) {
		if (key === '__proto__' || v === undefined) continue;
		const field = known.get(key);
		if (field) out[field.to] = rename(field.schema, v, direction);
		else out[key] = v;
	}
	return out;
}

/** The discriminator decides where there is one; else the first alternative that accepts the wire form, as in the validator. */
function renameUnion(union: Def, value: unknown, direction: Direction): unknown {
	for (const option of union.options ?? []) {
		if (union.discriminator !== undefined) {
			if (hasTag(option, union.discriminator, value, direction)) return rename(option, value, direction);
			continue;
		}
		const renamed = rename(option, value, direction);
		const wire = direction === 'camel' ? value : renamed;
		if ((option as z.ZodMiniType).safeParse(wire).success) return renamed;
	}
	return value;
}

function hasTag(option: Schema, discriminator: string, value: unknown, direction: Direction): boolean {
	const tag = defOf(option).shape?.[discriminator];
	const key = direction === 'camel' ? discriminator : camelKey(discriminator);
	return tag !== undefined && isPlainObject(value) && (defOf(tag).values ?? []).includes(value[key]);
}

function mapValues(value: Record<string, unknown>, map: (v: unknown) => unknown): Record<string, unknown> {
	const out: Record<string, unknown> = {};
	for (const [key, v] of Object.entries(value)) if (key !== '__proto__' && v !== undefined) out[key] = map(v);
	return out;
}
