// Schemas for documents that another version of ourselves wrote: the same, but unknown keys are dropped at every depth.
import type * as z from 'zod/mini';

type Schema = z.core.$ZodType;
interface Def {
	readonly type: string;
	readonly innerType?: Schema;
	readonly shape?: Readonly<Record<string, Schema>>;
	readonly element?: Schema;
	readonly valueType?: Schema;
	readonly options?: readonly Schema[];
}

/** The schema without its refusals of unknown keys; all other rules and defaults stay. */
export function tolerant<S extends z.ZodMiniType>(schema: S): S {
	return loosen(schema) as S;
}

function loosen(schema: Schema): Schema {
	const def = schema._zod.def as unknown as Def;
	const changes: PropertyDescriptorMap = {};
	const change = (key: string, value: unknown): void => {
		changes[key] = { value, enumerable: true, configurable: true };
	};
	if (def.type === 'object' && def.shape) {
		change('shape', Object.fromEntries(Object.entries(def.shape).map(([key, field]) => [key, loosen(field)])));
		change('catchall', undefined);
	}
	if (def.innerType) change('innerType', loosen(def.innerType));
	if (def.element) change('element', loosen(def.element));
	if (def.valueType) change('valueType', loosen(def.valueType));
	if (def.options) change('options', def.options.map(loosen));
	if (Object.keys(changes).length === 0) return schema;
	// By descriptor, because a default is a getter that makes a new value each time.
	const descriptors = { ...Object.getOwnPropertyDescriptors(def), ...changes };
	return (schema as z.ZodMiniType).clone(Object.defineProperties({}, descriptors) as typeof schema._zod.def);
}
