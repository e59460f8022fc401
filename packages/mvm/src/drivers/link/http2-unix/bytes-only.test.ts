import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { bytesOnly } from './bytes-only.ts';

test('strings arrive as bytes in their encoding, whatever else is passed, and callbacks are called', async () => {
	const seen: unknown[] = [];
	const stream = bytesOnly(
		new Duplex({
			decodeStrings: false,
			read() {},
			write(chunk: unknown, _encoding, done) {
				seen.push(chunk);
				done();
			},
		}),
	);
	let called = 0;
	const done = (): void => {
		called += 1;
	};
	stream.write('\u00e9', 'latin1', done);
	stream.write('\u00e9', done);
	stream.write(new Uint8Array([1]), done);
	stream.write('ab', 'utf8', done);
	stream.end('zz', 'latin1');
	await new Promise((resolve) => stream.once('finish', resolve));
	expect(seen).toEqual([
		Buffer.from([0xe9]),
		Buffer.from([0xc3, 0xa9]),
		expect.objectContaining({ 0: 1 }),
		Buffer.from('ab'),
		Buffer.from('zz'),
	]);
	expect(called).toBe(4);
});
