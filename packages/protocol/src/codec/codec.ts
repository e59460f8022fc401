// The one door between wires and TypeScript: a schema in wire spelling becomes a pair of parse and encode.
// Called wherever something crosses a process, a file, a queue or a link. Parse once, at the door.
import type * as z from 'zod/mini';
import { MvmError } from '../errors/mvm-error.ts';
import type { ErrorCode } from '../errors/registry.ts';
import type { Camel } from './names.ts';
import { type DocumentProblem, toProblems } from './problems.ts';
import { rename } from './rename.ts';
import { tolerant } from './tolerant.ts';

/** An error carries no more than this: a guest's garbage must not fill a log. `safeParse` has them all. */
const MOST_PROBLEMS = 100;

export type Parsed<T> =
	| { readonly ok: true; readonly value: T }
	| { readonly ok: false; readonly problems: readonly DocumentProblem[] };

export interface Codec<S extends z.ZodMiniType> {
	/** The schema in wire spelling, for nesting and for generated documents. */
	readonly schema: S;
	/** Wire value to TypeScript, defaults filled in. Throws INVALID_DOCUMENT (or `code`) with every problem in `details.problems`. */
	parse(wire: unknown, options?: { readonly code?: ErrorCode; readonly what?: string }): Camel<z.output<S>>;
	safeParse(wire: unknown): Parsed<Camel<z.output<S>>>;
	/** The same for documents that another version of ourselves wrote: unknown keys are dropped instead of refused. */
	readonly tolerant: Codec<S>;
	/** TypeScript to wire value, keys in the order of the schema. Throws INTERNAL when the value does not fit. */
	encode(value: Camel<z.output<S>>): z.output<S>;
}

/** The TypeScript type a codec parses to. */
export type CodecValue<C> = C extends Codec<infer S> ? Camel<z.output<S>> : never;
/** The wire type a codec encodes to. */
export type CodecWire<C> = C extends Codec<infer S> ? z.output<S> : never;

/** Makes the codec of a schema. Schemas with transforms are refused at first use: a wire value must survive a round trip. */
export function codec<S extends z.ZodMiniType>(schema: S): Codec<S> {
	const safeParse = (wire: unknown): Parsed<Camel<z.output<S>>> => {
		const result = schema.safeParse(wire, { reportInput: true });
		if (!result.success) return { ok: false, problems: toProblems(schema, result.error.issues) };
		return { ok: true, value: rename(schema, result.data, 'camel') as Camel<z.output<S>> };
	};
	let relaxed: Codec<S> | undefined;
	return {
		schema,
		safeParse,
		get tolerant() {
			relaxed ??= codec(tolerant(schema));
			return relaxed;
		},
		parse(wire, options = {}) {
			const result = safeParse(wire);
			if (result.ok) return result.value;
			throw invalid(options.code ?? 'INVALID_DOCUMENT', options.what ?? 'the document', result.problems);
		},
		encode(value) {
			const result = schema.safeParse(rename(schema, value, 'snake'), { reportInput: true });
			if (result.success) return result.data as z.output<S>;
			throw invalid('INTERNAL', 'a value of our own', toProblems(schema, result.error.issues));
		},
	};
}

function invalid(code: ErrorCode, what: string, problems: readonly DocumentProblem[]): MvmError {
	const [first] = problems;
	const where = first === undefined ? '' : `: ${first.path === '' ? '' : `${first.path} `}${first.message}`;
	const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
	return new MvmError(code, `${what} is not valid${where}${more}`, { details: { problems: problems.slice(0, MOST_PROBLEMS) } });
}
