import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame, FrameParser, MAX_FRAME_BYTES } from './frame.ts';

const header = (length: number): Uint8Array => {
	const bytes = new Uint8Array(4);
	new DataView(bytes.buffer).setUint32(0, length);
	return bytes;
};
const framed = (...body: number[]): Uint8Array => Uint8Array.of(...header(body.length), ...body);
const concat = (parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));

/** Feeds the bytes in portions of the given sizes, the last one repeated, and says what came out. */
function feed(bytes: Uint8Array, sizes: readonly number[]): { values: unknown[]; code: string | undefined } {
	const parser = new FrameParser();
	const values: unknown[] = [];
	try {
		for (let at = 0, turn = 0; at < bytes.length; turn++) {
			const size = sizes[Math.min(turn, sizes.length - 1)] ?? 1;
			values.push(...parser.push(bytes.subarray(at, at + size)));
			at += size;
		}
		parser.finish();
	} catch (error) {
		return { values, code: (error as { code: string }).code };
	}
	return { values, code: undefined };
}

describe('frames', () => {
	it('are a big-endian length and JSON', () => {
		expect([...encodeFrame('Ping')]).toEqual([0, 0, 0, 6, 0x22, 0x50, 0x69, 0x6e, 0x67, 0x22]);
	});

	it('come out only with their last byte', () => {
		const parser = new FrameParser();
		const bytes = encodeFrame({ SleepPrep: { drain_timeout_secs: 30 } });
		for (const byte of bytes.subarray(0, -1)) expect(parser.push(Uint8Array.of(byte))).toEqual([]);
		expect(parser.push(bytes.subarray(-1))).toEqual([{ SleepPrep: { drain_timeout_secs: 30 } }]);
		expect(() => parser.finish()).not.toThrow();
	});

	it('do not depend on how the bytes were cut', () => {
		const message = fc.jsonValue().filter((value) => value !== undefined);
		const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });
		fc.assert(
			fc.property(fc.array(message, { maxLength: 5 }), sizes, (messages, cut) => {
				const bytes = concat(messages.map(encodeFrame));
				expect(feed(bytes, cut)).toEqual({ values: messages.map((m) => JSON.parse(JSON.stringify(m))), code: undefined });
			}),
		);
	});

	it('give the same values and the same error for garbage, however it was cut', () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (garbage, size) => {
				const bytes = concat([encodeFrame('Ping'), garbage]);
				const whole = feed(bytes, [bytes.length]);
				expect(feed(bytes, [1])).toEqual(whole);
				expect(feed(bytes, [size])).toEqual(whole);
			}),
		);
	});

	it.each([
		['length 0', framed(), 'FRAME_MALFORMED'],
		['one byte over the limit', header(MAX_FRAME_BYTES + 1), 'FRAME_TOO_LARGE'],
		['a huge announcement', header(0xffff_ffff), 'FRAME_TOO_LARGE'],
		['bytes that are not UTF-8', framed(0x22, 0xff, 0x22), 'FRAME_MALFORMED'],
		['a byte order mark', framed(0xef, 0xbb, 0xbf, 0x31), 'FRAME_MALFORMED'],
		['text that is not JSON', framed(0x7b), 'FRAME_MALFORMED'],
		['an end inside the header', Uint8Array.of(0, 0), 'FRAME_MALFORMED'],
		['an end inside the body', Uint8Array.of(0, 0, 0, 5, 0x22), 'FRAME_MALFORMED'],
	])('refuses %s', (_, bytes, code) => {
		expect(feed(bytes, [bytes.length || 1]).code).toBe(code);
		expect(feed(bytes, [1]).code).toBe(code);
	});

	it('says what is wrong with an empty one', () => {
		expect(() => new FrameParser().push(header(0))).toThrow('a frame of length 0');
	});

	it('stays broken after a fault, and still gives what came before it', () => {
		const parser = new FrameParser();
		expect(parser.push(concat([encodeFrame(1), framed()]))).toEqual([1]);
		for (let i = 0; i < 2; i++)
			expect(() => parser.push(encodeFrame(2))).toThrow(expect.objectContaining({ code: 'FRAME_MALFORMED' }));
	});

	it('carries exactly the limit and not a byte more', () => {
		const fits = 'x'.repeat(MAX_FRAME_BYTES - 2);
		expect(new FrameParser().push(encodeFrame(fits))).toEqual([fits]);
		expect(() => encodeFrame(`${fits}x`)).toThrow(expect.objectContaining({ code: 'FRAME_TOO_LARGE' }));
		expect(() => encodeFrame(undefined)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
	});

	it('allocates for what arrived, never for what was announced', () => {
		const before = process.memoryUsage().arrayBuffers;
		const parsers = Array.from({ length: 500 }, () => {
			const parser = new FrameParser();
			parser.push(header(MAX_FRAME_BYTES));
			return parser;
		});
		expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(500 * 8192);
		expect(parsers).toHaveLength(500);
	});

	it('leaves the bytes behind the last wanted frame to a stream that turns raw', () => {
		const parser = new FrameParser();
		const raw = Uint8Array.of(1, 2, 3, 4, 5);
		expect(parser.push(concat([encodeFrame('ForwardReady'), raw]), { maxFrames: 1 })).toEqual(['ForwardReady']);
		expect([...parser.rest()]).toEqual([1, 2, 3, 4, 5]);
		expect(() => parser.finish()).not.toThrow();
	});
});
