import { expect, test } from 'vitest';
import { checkUpstream, isInternalAddress } from './upstream-policy.ts';

test.each([
	'127.0.0.1',
	'10.1.2.3',
	'169.254.169.254',
	'192.168.0.1',
	'172.31.0.1',
	'100.64.0.1',
	'::1',
	'fe80::1',
	'fd00::1',
	'::ffff:127.0.0.1',
	'0.0.0.0',
	'not an address',
])('%s is internal', (address) => {
	expect(isInternalAddress(address)).toBe(true);
});

test.each(['8.8.8.8', '1.1.1.1', '172.32.0.1', '2606:4700:4700::1111'])('%s is public', (address) => {
	expect(isInternalAddress(address)).toBe(false);
});

test('an internal upstream is refused unless the operator listed host and port', async () => {
	const url = new URL('http://127.0.0.1:4010/v1');
	await expect(checkUpstream(url, [])).rejects.toMatchObject({ code: 'UPSTREAM_REFUSED' });
	await expect(checkUpstream(url, ['127.0.0.1:4011'])).rejects.toMatchObject({ code: 'UPSTREAM_REFUSED' });
	await expect(checkUpstream(url, ['127.0.0.1:4010'])).resolves.toBe('127.0.0.1');
});
