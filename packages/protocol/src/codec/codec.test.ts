import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod/mini';
import { type CodecValue, codec } from './codec.ts';
import { camelKey } from './names.ts';

const Sample = codec(
	z.strictObject({
		drain_timeout_secs: z._default(z.int(), 30),
		env_vars: z.record(z.string(), z.strictObject({ is_set: z.boolean() })),
		inner_list: z._default(z.array(z.object({ guest_port: z.int() })), []),
		one_of: z.optional(z.union([z.literal('any'), z.strictObject({ by_ip: z.string() })])),
		last_exit: z._default(z.nullable(z.object({ exit_code: z.int() })), null),
	}),
);

describe('the codec', () => {
	it('renames the keys of objects and never those of records', () => {
		const wire = {
			drain_timeout_secs: 1,
			env_vars: { MY_VAR: { is_set: true }, a_b: { is_set: false } },
			one_of: { by_ip: 'x' },
		};
		const value = Sample.parse(wire);
		expect(value).toEqual({
			drainTimeoutSecs: 1,
			envVars: { MY_VAR: { isSet: true }, a_b: { isSet: false } },
			innerList: [],
			oneOf: { byIp: 'x' },
			lastExit: null,
		});
		expect(Sample.encode(value)).toEqual({ ...wire, inner_list: [], last_exit: null });
	});

	it('gives types with the same names', () => {
		type Value = CodecValue<typeof Sample>;
		expectTypeOf<Value['drainTimeoutSecs']>().toEqualTypeOf<number>();
		expectTypeOf<Value['envVars']>().toEqualTypeOf<{ readonly [x: string]: { readonly isSet: boolean } }>();
		expectTypeOf<Value['oneOf']>().toEqualTypeOf<'any' | { readonly byIp: string } | undefined>();
		expectTypeOf<Value['innerList']>().toEqualTypeOf<readonly { readonly guestPort: number }[]>();
		expectTypeOf<Value['lastExit']>().toEqualTypeOf<{ readonly exitCode: number } | null>();
	});

	it('writes keys in the order of the schema, whatever order they came in', () => {
		const value = Sample.parse({ last_exit: { exit_code: 1 }, one_of: 'any', env_vars: {}, drain_timeout_secs: 2 });
		expect(JSON.stringify(Sample.encode(value))).toBe(
			'{"drain_timeout_secs":2,"env_vars":{},"inner_list":[],"one_of":"any","last_exit":{"exit_code":1}}',
		);
	});

	it('lists all problems at once, with paths as written in the document', () => {
		const result = Sample.safeParse({
			drain_timeout_secs: 'soon',
			env_vars: { 'A.B': { is_set: 1 } },
			inner_list: [{}, { guest_port: 1.5 }],
			one_of: { by_ipp: '1' },
			drain_timeout_sec: 5,
		});
		expect(result).toEqual({
			ok: false,
			problems: [
				{ path: 'drain_timeout_secs', message: 'must be a number' },
				{ path: 'env_vars["A.B"].is_set', message: 'must be true or false' },
				{ path: 'inner_list[0].guest_port', message: 'is required' },
				{ path: 'inner_list[1].guest_port', message: 'must be a whole number' },
				{ path: 'one_of.by_ip', message: 'is required' },
				{ path: 'one_of.by_ipp', message: 'is not a known key; did you mean "by_ip"?' },
				{ path: 'drain_timeout_sec', message: 'is not a known key; did you mean "drain_timeout_secs"?' },
			],
		});
	});

	it('names every alternative when none came close', () => {
		expect(Sample.safeParse({ env_vars: {}, one_of: 7 })).toEqual({
			ok: false,
			problems: [{ path: 'one_of', message: 'must be "any" or must be a table' }],
		});
	});

	it('can read what another version wrote: unknown keys go, all other rules stay', () => {
		const newer = { env_vars: { A: { is_set: true, since: 1 } }, one_of: { by_ip: 'x', weight: 2 }, extra: [] };
		expect(Sample.safeParse(newer).ok).toBe(false);
		expect(Sample.tolerant.parse(newer)).toMatchObject({
			envVars: { A: { isSet: true } },
			oneOf: { byIp: 'x' },
			drainTimeoutSecs: 30,
		});
		expect(Sample.tolerant.safeParse({ env_vars: { A: { is_set: 1 } } }).ok).toBe(false);
		expect(Sample.safeParse(newer).ok).toBe(false);
	});

	it('gives each value defaults of its own', () => {
		for (const one of [Sample, Sample.tolerant])
			expect(one.parse({ env_vars: {} }).innerList).not.toBe(one.parse({ env_vars: {} }).innerList);
	});

	it('throws INVALID_DOCUMENT with the problems, or the code it was given', () => {
		expect(() => Sample.parse({})).toThrow(expect.objectContaining({ code: 'INVALID_DOCUMENT' }));
		expect(() => Sample.parse(3, { code: 'GUEST_PROTOCOL', what: 'a message' })).toThrow(
			expect.objectContaining({ code: 'GUEST_PROTOCOL', message: 'a message is not valid: must be a table' }),
		);
	});

	it('never shows the value that was wrong', () => {
		const result = Sample.safeParse({ env_vars: { hunter2: { is_set: 'hunter2-secret' } }, one_of: 'hunter2-secret' });
		expect(JSON.stringify(result)).not.toContain('hunter2-secret');
	});

	it('refuses to encode what does not fit', () => {
		expect(() => Sample.encode({ ...Sample.parse({ env_vars: {} }), drainTimeoutSecs: 1.5 })).toThrow(
			expect.objectContaining({ code: 'INTERNAL' }),
		);
	});

	it('refuses schemas that change values, because those have no way back', () => {
		const changing = codec(z.pipe(z.string(), z.transform(Number)));
		expect(() => changing.parse('1')).toThrow(TypeError);
	});

	it('does not let a document reach the prototype', () => {
		const value = Sample.parse(JSON.parse('{"env_vars":{"__proto__":{"is_set":true},"constructor":{"is_set":true}}}'));
		expect(Object.keys(value.envVars)).toEqual(['constructor']);
		expect(Object.getPrototypeOf(value.envVars)).toBe(Object.prototype);
		const encoded = Sample.tolerant.encode(
			JSON.parse('{"__proto__":{"one_of":"any"},"drainTimeoutSecs":1,"envVars":{},"innerList":[],"lastExit":null}'),
		);
		expect(encoded.one_of).toBeUndefined();
	});
});

describe('every schema and every value', () => {
	const key = fc.stringMatching(/^[a-z][a-z0-9]{0,5}(_[a-z][a-z0-9]{0,4}){0,3}$/);
	interface Case {
		readonly schema: z.ZodMiniType;
		readonly value: fc.Arbitrary<unknown>;
	}
	const leaf: fc.Arbitrary<Case> = fc.constantFrom<Case>(
		{ schema: z.int(), value: fc.integer() },
		{ schema: z.string(), value: fc.string() },
		{ schema: z.boolean(), value: fc.boolean() },
		{ schema: z.enum(['some_word', 'otherWord']), value: fc.constantFrom('some_word', 'otherWord') },
		{
			schema: z.record(z.string(), z.string()),
			value: fc.dictionary(
				fc.string().filter((k) => k !== '__proto__'),
				fc.string(),
			),
		},
	);
	const { tree } = fc.letrec<{ tree: Case }>((tie) => ({
		tree: fc.oneof(
			{ maxDepth: 4, depthSize: 'small' },
			leaf,
			tie('tree').map((c) => ({ schema: z.array(c.schema), value: fc.array(c.value, { maxLength: 3 }) })),
			tie('tree').map((c) => ({ schema: z.nullable(c.schema), value: fc.option(c.value) })),
			tie('tree').map((c) => ({
				schema: z.record(z.string(), c.schema),
				value: fc.dictionary(
					key.filter((k) => k !== '__proto__'),
					c.value,
					{ maxKeys: 3 },
				),
			})),
			fc.uniqueArray(fc.tuple(key, tie('tree')), { selector: ([k]) => camelKey(k), maxLength: 4 }).map((fields) => ({
				schema: z.strictObject(Object.fromEntries(fields.map(([k, c]) => [k, c.schema]))),
				value: fc.record(Object.fromEntries(fields.map(([k, c]) => [k, c.value]))),
			})),
		),
	}));

	it('survives the way in and out again', () => {
		fc.assert(
			fc.property(
				tree.chain((c) => c.value.map((wire) => ({ schema: c.schema, wire: structuredClone(wire) }))),
				({ schema, wire }) => {
					const { parse, encode } = codec(schema);
					const value = parse(wire);
					expect(encode(value)).toEqual(wire);
					expect(parse(encode(value))).toEqual(value);
				},
			),
			{ numRuns: 300 },
		);
	});
});
