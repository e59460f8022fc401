import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { isMvmError } from '@mvm/protocol';
import { expect, test } from 'vitest';
import { readBody, readJson } from './body.ts';

test('a body that does not come in time, or comes in part, is given up with its connection', async () => {
	const outcome = Promise.withResolvers<string>();
	const server = createServer((request) => {
		readBody(request, 100, 50).then(
			(body) => outcome.resolve(String(body)),
			(error) => outcome.resolve(isMvmError(error) ? error.code : error.code),
		);
	});
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
	const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
	socket.on('error', () => {}).resume();
	socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nslow');
	expect(await outcome.promise).toBe('TIMEOUT');
	await closed;
	server.close();
});

test('a JSON body over the limit or not JSON is refused; none is none', async () => {
	const request = (body?: string): Request =>
		new Request('http://x/', { method: 'POST', ...(body === undefined ? {} : { body }) });
	expect(await readJson(request('{"a":1}'), 100)).toEqual({ a: 1 });
	expect(await readJson(request(), 100)).toBeUndefined();
	await expect(readJson(request('{'), 100)).rejects.toMatchObject({ code: 'INVALID_DOCUMENT' });
	await expect(readJson(request('x'.repeat(101)), 100)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
});
