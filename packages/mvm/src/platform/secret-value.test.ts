import { Writable } from 'node:stream';
import { inspect } from 'node:util';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { SecretValue } from './secret-value.ts';

test('a secret shows itself only when it is asked by name', () => {
	const secret = new SecretValue('hunter2');
	let logged = '';
	const log = pino(
		new Writable({
			write(chunk, _encoding, done) {
				logged += String(chunk);
				done();
			},
		}),
	);
	log.info({ secret, nested: { secret } }, 'logged');
	const shown = [
		String(secret),
		`${secret}`,
		JSON.stringify({ secret }),
		inspect({ secret }),
		Object.values(secret).join(),
		logged,
	];
	expect(shown.join('\n')).not.toContain('hunter2');
	expect(logged).toContain('[secret]');
	expect(secret.reveal()).toBe('hunter2');
});
