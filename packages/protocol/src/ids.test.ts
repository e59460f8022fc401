import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
	newApiKeyId,
	newCheckpointId,
	newInstanceId,
	newOperationId,
	parseApiKeyId,
	parseCheckpointId,
	parseInstanceId,
	parseOperationId,
	parsePathSafeName,
	parsePoolId,
	parseTenantId,
} from './index.ts';

const invalid = expect.objectContaining({ code: 'INVALID_ID' });

describe('tenant and pool ids', () => {
	it.each(['a', 'acme', 'a-b', '0', 'x'.repeat(63)])('take %j', (id) => {
		expect(parseTenantId(id)).toBe(id);
		expect(parsePoolId(id)).toBe(id);
	});
	it.each(['', '-a', 'a-', 'A', 'a_b', 'a.b', 'a/b', '..', 'x'.repeat(64), 'ä', 'a\n', 7, null, undefined])('refuse %j', (id) => {
		expect(() => parseTenantId(id)).toThrow(invalid);
		expect(() => parsePoolId(id)).toThrow(invalid);
	});
});

describe('names that become folders', () => {
	it.each(['openclaw', 'a-', '0'])('take %j', (name) => expect(parsePathSafeName(name)).toBe(name));
	it.each(['', '-a', '.', '..', 'a/b', 'a\0', 'A', 'x'.repeat(64)])('refuse %j', (name) =>
		expect(() => parsePathSafeName(name)).toThrow(invalid),
	);
});

describe('new ids', () => {
	it('have their form whatever the random bytes are', () => {
		fc.assert(
			fc.property(fc.uint8Array({ minLength: 8, maxLength: 16 }), (random) => {
				expect(parseInstanceId(newInstanceId(random))).toMatch(/^i-[0-9a-f]{8}$/);
				expect(parseOperationId(newOperationId(random))).toMatch(/^op-[0-9a-f]{16}$/);
				expect(parseCheckpointId(newCheckpointId(random))).toMatch(/^cp-[0-9a-f]{16}$/);
				expect(parseApiKeyId(newApiKeyId(random))).toMatch(/^key-[0-9a-f]{8}$/);
			}),
		);
		expect(newInstanceId(Uint8Array.of(0, 1, 0xab, 0xff))).toBe('i-0001abff');
	});
	it('are not made from too few bytes', () => {
		expect(() => newInstanceId(new Uint8Array(3))).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
	});
});
