import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { isFromSender } from './verify.ts';

const body = new TextEncoder().encode('{"a":1}');

test('only the exact secret in the declared header is the sender', () => {
	const check = { kind: 'header', header: 'X-Secret', secret: 's3cret' } as const;
	expect(isFromSender(check, { 'x-secret': 's3cret' }, body)).toBe(true);
	for (const value of ['s3cre', 's3crets', '', 'S3CRET']) expect(isFromSender(check, { 'x-secret': value }, body)).toBe(false);
	expect(isFromSender(check, {}, body)).toBe(false);
	expect(isFromSender({ ...check, secret: '' }, { 'x-secret': '' }, body)).toBe(false);
});

test('a signature covers the raw body', () => {
	const check = {
		kind: 'signature',
		header: 'x-hub-signature-256',
		secret: 'k',
		algorithm: 'sha256',
		prefix: 'sha256=',
	} as const;
	const hex = createHmac('sha256', 'k').update(body).digest('hex');
	expect(isFromSender(check, { 'x-hub-signature-256': `sha256=${hex}` }, body)).toBe(true);
	expect(isFromSender(check, { 'x-hub-signature-256': `sha256=${hex}` }, new TextEncoder().encode('{"a":2}'))).toBe(false);
	expect(isFromSender(check, { 'x-hub-signature-256': hex }, body)).toBe(false);
});
