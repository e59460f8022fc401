// Wrong deploy files through the real command line against a real platform: every problem at once with its path, the right exit code,
// and nothing changed.
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestPlatform } from '../support/platform.ts';
import { COUNTER } from '../support/platform-deploy.ts';

const CLI = resolve(import.meta.dirname, '../../packages/mvm/src/cli/main.ts');

let platform: TestPlatform;
let folder: string;

beforeAll(async () => {
	platform = await TestPlatform.start({ config: 'swap = { size_mib = 0 }' });
	folder = join(platform.folders.root, 'example');
	cpSync(COUNTER, folder, { recursive: true });
	for (const name of ['telegram-token', 'telegram-webhook']) writeFileSync(join(folder, 'secrets', name), 'x', { mode: 0o600 });
});
afterAll(() => platform?.stop());

function mvm(...args: string[]): { code: number | null; out: string; err: string } {
	const env = {
		PATH: process.env['PATH'] ?? '',
		HOME: folder,
		MVM_DATA_DIR: platform.folders.data,
		MVM_RUN_DIR: platform.folders.run,
	};
	const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { env, encoding: 'utf8', timeout: 60_000 });
	return { code: status, out: stdout, err: stderr };
}

test('all problems of a file are told at once with their paths, and nothing is changed', async () => {
	const file = join(folder, 'wrong.toml');
	const text = readFileSync(join(folder, 'deploy.toml'), 'utf8')
		.replace('id = "workers"', 'id = "Workers!"')
		.replace('mem_mib = 256', 'mem_mib = "much"')
		.replace('guest_port = 8787', 'guest_port = 99999')
		.replace('vcpus = 1', 'vcpus = 1\ncolour = "blue"');
	writeFileSync(file, text);
	const { code, err } = mvm('deploy', file);
	expect(code).toBe(2);
	for (const part of ['id', 'mem_mib', 'guest_port', 'colour']) expect(err).toContain(part);
	const { items } = await platform.client.call('tenant.list', undefined as never);
	expect(items).toEqual([]);
});

test('a file that is not there, not TOML, or names what is not there has its own answer', async () => {
	expect(mvm('deploy', join(folder, 'nothing.toml'))).toMatchObject({ code: 3 });
	writeFileSync(join(folder, 'broken.toml'), '[tenant\nid = 1');
	expect(mvm('deploy', join(folder, 'broken.toml')).code).toBe(2);
	writeFileSync(
		join(folder, 'no-recipe.toml'),
		readFileSync(join(folder, 'deploy.toml'), 'utf8').replace('counter.image.toml', 'gone.toml'),
	);
	const missing = mvm('deploy', join(folder, 'no-recipe.toml'));
	expect(missing.code).not.toBe(0);
	expect(missing.err).toContain('gone.toml');
	expect(mvm('instance', 'info', 'i-00000000').code).toBe(3);
	expect(mvm('instance', 'info', '../../etc').code).toBe(2);
	const { items } = await platform.client.call('tenant.list', undefined as never);
	expect(items).toEqual([]);
});
