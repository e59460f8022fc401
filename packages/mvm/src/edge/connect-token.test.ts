import { MvmError } from '@mvm/protocol';
import { expect, test } from 'vitest';
import { ConnectTokenStream } from './connect-token.ts';

const MASK = Buffer.from([1, 2, 3, 4]);

/** A client's frame. */
function frame(
	payload: string | Buffer,
	options: { opcode?: number; final?: boolean; rsv?: boolean; mask?: boolean } = {},
): Buffer {
	const { opcode = 1, final = true, rsv = false, mask = true } = options;
	const data = Buffer.from(payload);
	const long = data.length > 125;
	const head = Buffer.from([(final ? 0x80 : 0) | (rsv ? 0x40 : 0) | opcode, (mask ? 0x80 : 0) | (long ? 126 : data.length)]);
	const length = Buffer.alloc(long ? 2 : 0);
	if (long) length.writeUInt16BE(data.length);
	return Buffer.concat([head, length, ...(mask ? [MASK] : []), mask ? data.map((byte, at) => byte ^ (MASK[at % 4] ?? 0)) : data]);
}

async function pass(chunks: readonly Buffer[]): Promise<Buffer> {
	const stream = new ConnectTokenStream('the-token', () => MASK);
	const out: Buffer[] = [];
	stream.on('data', (chunk: Buffer) => out.push(chunk));
	const done = new Promise<void>((resolve, reject) => stream.once('end', resolve).once('error', reject));
	for (const chunk of chunks) stream.write(chunk);
	stream.end();
	await done;
	return Buffer.concat(out);
}
const bytewise = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.from([byte]));
const connect = (auth: unknown) =>
	JSON.stringify({ type: 'req', id: '1', method: 'connect', params: { role: 'operator', auth } });

test('the first message gets the token of the gateway, and all other bytes pass as they are', async () => {
	const ping = frame('x', { opcode: 9 });
	const rest = Buffer.concat([frame('{"method":"connect","params":{"auth":{"token":"mine"}}}'), Buffer.from([0, 255, 1, 127])]);
	for (const auth of [{ token: 'what the client has' }, { token: 'a', password: 'b' }, undefined]) {
		const input = Buffer.concat([ping, frame(connect(auth)), rest]);
		const expected = Buffer.concat([ping, frame(connect({ token: 'the-token' })), rest]);
		expect(await pass([input])).toEqual(expected);
		expect(await pass(bytewise(input))).toEqual(expected);
	}
});

test('a first message that is no connect passes unchanged: the gateway judges it', async () => {
	for (const text of ['{}', 'no json', '{"method":"agent"}', '[]', 'null', 'x'.repeat(500)]) {
		expect(await pass([frame(text)])).toEqual(frame(text));
	}
	const longer = connect({ token: 'y'.repeat(300) });
	expect(await pass([frame(longer)])).toEqual(frame(connect({ token: 'the-token' })));
});

test('what is no first message of a client ends the connection', async () => {
	const huge = Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]);
	for (const bad of [
		frame('x', { final: false }),
		frame('x', { opcode: 2 }),
		frame('x', { rsv: true }),
		frame('x', { mask: false }),
		huge,
	]) {
		await expect(pass([bad])).rejects.toThrow(MvmError);
	}
});
