// The real openclaw package for tests: installed once into the repository's .cache by the machine's own npm, shared by test runs.
// A failed install rejects: a test of the real thing never turns into a skip.
import { spawn } from 'node:child_process';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** The pinned version; the same as in examples/openclaw/openclaw.image.toml. */
export const OPENCLAW_VERSION = '2026.9.6';
const CACHE = resolve(import.meta.dirname, '../../.cache');

/** The folder whose node_modules has openclaw; about 35 s the first time. */
export async function ensureOpenClaw(): Promise<string> {
	const folder = join(CACHE, `openclaw-${OPENCLAW_VERSION}`);
	if (await isInstalled(folder)) return folder;
	const fresh = `${folder}.${process.pid}.tmp`;
	await mkdir(fresh, { recursive: true });
	await writeFile(join(fresh, 'package.json'), '{"private":true}\n');
	const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', `openclaw@${OPENCLAW_VERSION}`];
	const child = spawn('npm', args, { cwd: fresh, stdio: ['ignore', 'ignore', 'pipe'] });
	let stderr = '';
	child.stderr.on('data', (chunk: Buffer) => {
		stderr = (stderr + chunk.toString()).slice(-4_000);
	});
	const code = await new Promise<number | null>((done, failed) => child.on('error', failed).on('close', done));
	if (code !== 0 || !(await isInstalled(fresh))) throw new Error(`npm could not install openclaw (exit ${code}): ${stderr}`);
	await rename(fresh, folder).catch(async (error: unknown) => {
		await rm(fresh, { recursive: true, force: true });
		if (!(await isInstalled(folder))) throw error; // another run was first
	});
	return folder;
}

async function isInstalled(folder: string): Promise<boolean> {
	const manifest = await readFile(join(folder, 'node_modules/openclaw/package.json'), 'utf8').catch(() => '{}');
	return (JSON.parse(manifest) as { version?: string }).version === OPENCLAW_VERSION;
}
