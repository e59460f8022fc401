import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { childOf, formatTraceparent, newTrace, parseTraceparent } from './index.ts';

const id = (c: string, n: number) => c.repeat(n);
const good = `00-${id('a', 32)}-${id('b', 16)}-01`;

describe('traceparent', () => {
	it('is read and written the same', () => {
		expect(parseTraceparent(good)).toEqual({ traceId: id('a', 32), spanId: id('b', 16), sampled: true });
		fc.assert(
			fc.property(
				fc.uint8Array({ minLength: 24, maxLength: 24 }).filter((b) => b.slice(0, 16).some(Boolean) && b.slice(16).some(Boolean)),
				(random) => {
					const trace = newTrace(random);
					expect(parseTraceparent(formatTraceparent(trace))).toEqual(trace);
				},
			),
		);
	});
	it('of a later version may go on behind the flags', () => {
		expect(parseTraceparent(good.replace('00-', '01-').concat('-more'))?.traceId).toBe(id('a', 32));
	});
	it.each([
		undefined,
		'',
		'x',
		good.toUpperCase(),
		`${good}-more`,
		good.replace('00-', 'ff-'),
		good.replaceAll('a', '0'),
		good.replaceAll('b', '0'),
	])('is ignored when it is %j', (header) => expect(parseTraceparent(header)).toBeUndefined());
	it('keeps its trace in a child', () => {
		const parent = newTrace(new Uint8Array(24).fill(7));
		expect(childOf(parent, new Uint8Array(8).fill(9))).toEqual({ ...parent, spanId: id('09', 8) });
	});
	it('is not made of zeros', () =>
		expect(() => newTrace(new Uint8Array(24))).toThrow(expect.objectContaining({ code: 'INTERNAL' })));
});
