import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { EventParser, readEvents } from './events.ts';

const TEXT =
	': open\n\nid: 1\nevent: a.b\ndata: {"x":1}\n\nid: 2\r\ndata: one\r\ndata: two\r\n\r\nevent: lonely\n\ndata:tight\n\n';
const EXPECTED = [
	{ event: 'a.b', id: '1', data: '{"x":1}' },
	{ event: '', id: '2', data: 'one\ntwo' },
	{ event: '', id: '2', data: 'tight' },
];

test('events come out the same whether the text comes whole or byte by byte', () => {
	expect(new EventParser().push(TEXT)).toEqual(EXPECTED);
	const parser = new EventParser();
	expect([...TEXT].flatMap((char) => parser.push(char))).toEqual(EXPECTED);
});

test('a stream that ends in the middle of an event yields what was complete', async () => {
	const events: unknown[] = [];
	for await (const event of readEvents(Readable.from([TEXT, 'data: cut']))) events.push(event);
	expect(events).toEqual(EXPECTED);
});
