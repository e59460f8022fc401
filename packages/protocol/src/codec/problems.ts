// Turns the validator's issues into problems for people: one per fault, each with the path as it is written in the file
// (`pools[0].ingress[0].verify.secret`). Called by codec.ts and by the deploy file's cross checks.
import type * as z from 'zod/mini';
import { closest } from './closest.ts';

/** One fault of a document. */
export interface DocumentProblem {
	/** Where, in the spelling of the wire; empty for the document itself. */
	readonly path: string;
	/** What is wrong and what was expected, as a lower-case phrase. Never holds the value that was found. */
	readonly message: string;
}

type Issue = z.core.$ZodIssue;
type Schema = z.core.$ZodType;

/** `['pools', 0, 'env', 'A.B']` → `pools[0].env["A.B"]`. */
export function formatPath(path: readonly PropertyKey[]): string {
	let text = '';
	for (const part of path) {
		if (typeof part === 'number') text += `[${part}]`;
		else if (/^[A-Za-z_][\w-]*$/.test(String(part))) text += text === '' ? String(part) : `.${String(part)}`;
		else text += `[${JSON.stringify(String(part))}]`;
	}
	return text;
}

/** All problems of a failed parse, in document order, without repeats. */
export function toProblems(schema: Schema, issues: readonly Issue[]): DocumentProblem[] {
	const found = issues.flatMap((issue) => describe(schema, issue, []));
	const seen = new Set<string>();
	return found.filter((problem) => {
		const key = `${problem.path}\n${problem.message}`;
		return seen.has(key) ? false : seen.add(key);
	});
}

function describe(schema: Schema, issue: Issue, base: readonly PropertyKey[]): DocumentProblem[] {
	const path = [...base, ...issue.path];
	const at = formatPath(path);
	switch (issue.code) {
		case 'unrecognized_keys':
			return issue.keys.map((key) => ({ path: formatPath([...path, key]), message: unknownKey(key, keysAt(schema, path)) }));
		case 'invalid_union':
			return describeUnion(schema, issue, path);
		case 'invalid_key':
			return [{ path: at, message: `is not a valid name here: ${issue.issues.map(phrase).join(', ')}` }];
		default:
			return [{ path: at, message: phrase(issue) }];
	}
}

/** The alternative that came furthest explains best; when none came further than the type, all types are named. */
function describeUnion(schema: Schema, issue: z.core.$ZodIssueInvalidUnion, path: readonly PropertyKey[]): DocumentProblem[] {
	if (issue.errors.length === 0) {
		const options = (issue as { options?: readonly unknown[] }).options ?? [];
		return [{ path: formatPath(path), message: `must be one of ${options.map((o) => JSON.stringify(o)).join(', ')}` }];
	}
	const deeper = issue.errors.filter((issues) => issues.every((i) => i.path.length > 0 || i.code === 'unrecognized_keys'));
	const best = deeper.sort((a, b) => a.length - b.length)[0];
	if (best) return best.flatMap((i) => describe(schema, i, path));
	const phrases = [...new Set(issue.errors.flatMap((issues) => issues.map(phrase)))];
	return [{ path: formatPath(path), message: phrases.join(' or ') }];
}

function phrase(issue: Issue): string {
	// A check of ours carries its own words; the validator's own are not loaded.
	if (issue.message !== 'Invalid input' && issue.message !== '') return issue.message;
	switch (issue.code) {
		case 'invalid_type':
			return issue.input === undefined && 'input' in issue ? 'is required' : `must be ${ofType(issue.expected)}`;
		case 'invalid_value':
			return issue.values.length === 1
				? `must be ${JSON.stringify(issue.values[0])}`
				: `must be one of ${issue.values.map((v) => JSON.stringify(v)).join(', ')}`;
		case 'too_small':
			return limit(issue.origin, issue.inclusive === false ? 'more than' : 'at least', issue.minimum);
		case 'too_big':
			return limit(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum);
		case 'invalid_format':
			return 'does not have the required form';
		default:
			return 'is not valid';
	}
}

function limit(origin: string, words: string, value: number | bigint): string {
	if (origin === 'string') return `must have ${words} ${value} characters`;
	if (origin === 'array') return `must have ${words} ${value} entries`;
	return `must be ${words} ${value}`;
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
	int: 'a whole number',
	record: 'a table',
	object: 'a table',
	array: 'a list',
	boolean: 'true or false',
};
const ofType = (expected: string): string => TYPE_WORDS[expected] ?? `a ${expected}`;

function unknownKey(key: string, known: readonly string[]): string {
	const guess = closest(key, known);
	if (guess !== undefined) return `is not a known key; did you mean ${JSON.stringify(guess)}?`;
	return known.length === 0 ? 'is not a known key' : `is not a known key (known: ${known.join(', ')})`;
}

/** The keys the schema allows at a path; empty when the path leads through something without a shape. */
function keysAt(schema: Schema, path: readonly PropertyKey[]): string[] {
	const def = (schema as { _zod: { def: unknown } })._zod.def as {
		innerType?: Schema;
		shape?: Record<string, Schema>;
		element?: Schema;
		valueType?: Schema;
		options?: readonly Schema[];
	};
	if (def.innerType) return keysAt(def.innerType, path);
	if (def.options) return [...new Set(def.options.flatMap((option) => keysAt(option, path)))];
	const [head, ...rest] = path;
	if (head === undefined) return Object.keys(def.shape ?? {});
	const next = def.shape?.[String(head)] ?? def.element ?? def.valueType;
	return next ? keysAt(next, rest) : [];
}
