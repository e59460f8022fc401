import { expect, test } from 'vitest';
import { atPointer, bodyKey, keyText, parseLossless } from './json-pointer.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('two ids that differ beyond double precision stay two ids', () => {
	const one = keyText(atPointer(parseLossless(bytes('{"id": 9007199254740993}')), '/id'));
	const two = keyText(atPointer(parseLossless(bytes('{"id": 9007199254740992}')), '/id'));
	expect(one).toBe('9007199254740993');
	expect(one).not.toBe(two);
});

test('pointers follow RFC 6901 and never reach a prototype', () => {
	const document = parseLossless(bytes('{"a/b": {"m~n": [10, {"x": true}]}}'));
	expect(atPointer(document, '/a~1b/m~0n/1/x')).toBe(true);
	expect(atPointer(document, '/a~1b/m~0n/01')).toBeUndefined();
	expect(atPointer(document, '/__proto__/constructor')).toBeUndefined();
	expect(atPointer(document, '/constructor/name')).toBeUndefined();
	expect(atPointer(document, 'no-slash')).toBeUndefined();
	expect(atPointer(document, '')).toBe(document);
});

test('what is no scalar, no JSON or no UTF-8 is no key', () => {
	expect(parseLossless(bytes('{'))).toBeUndefined();
	expect(parseLossless(Uint8Array.of(0xff, 0xfe))).toBeUndefined();
	for (const value of [undefined, null, {}, [], '']) expect(keyText(value)).toBeUndefined();
});

test('a key that the store could refuse becomes its hash', () => {
	expect(keyText('a\u0000b')).toMatch(/^sha256:[0-9a-f]{64}$/);
	expect(keyText('x'.repeat(300))).toMatch(/^sha256:/);
	expect(keyText('\ud800')).toMatch(/^sha256:/);
	expect(keyText(0)).toBe('0');
	expect(bodyKey(bytes('x'))).toMatch(/^body:[0-9a-f]{64}$/);
});
