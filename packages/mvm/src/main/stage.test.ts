import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { stage } from './stage.ts';

const distDir = join(mkdtempSync(join(tmpdir(), 'mvm-stage-')), 'dist');
afterAll(() => rmSync(join(distDir, '..'), { recursive: true, force: true }));

it('stages a copy that everybody can run, once, and removes older ones that nothing runs from', async () => {
	mkdirSync(join(distDir, 'older/bin'), { recursive: true });
	const first = await stage({ distDir });
	expect(first.reused).toBe(false);
	expect(await stage({ distDir })).toEqual({ ...first, reused: true });
	expect(readdirSync(distDir)).toEqual([first.root.split('/').at(-1)]);
	for (const path of [
		'',
		'bin/node',
		'packages/mvm/src/main/hostd.js',
		'packages/mvm/src/main/hostd.ts',
		'node_modules/zod/package.json',
		'node_modules/pg/package.json',
	])
		expect(statSync(join(first.root, path)).mode & 0o004, path).toBe(0o004);
	expect(existsSync(join(first.root, 'packages/mvm/src/main/stage.test.ts'))).toBe(false);
	expect(existsSync(join(first.root, 'node_modules/typescript'))).toBe(false);
	const code = "import('@mvm/protocol').then(p=>console.log(p.parseInstanceId('i-00000001')))";
	const ran = spawnSync(first.node, ['-e', code], { cwd: join(first.root, 'packages/mvm'), env: {}, encoding: 'utf8' });
	expect(ran).toMatchObject({ stdout: 'i-00000001\n', status: 0 });
}, 60_000);
