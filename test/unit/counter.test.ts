// The counter example as users run it: its program, its scripts and its two files.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ImageRecipe, parseDeployFile } from '@mvm/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually } from '../support/guest-process.ts';

const EXAMPLE = resolve(import.meta.dirname, '../../examples/counter');
const ofHost = createRequire(resolve(import.meta.dirname, '../../packages/mvm/package.json'));
const { parse: parseToml } = ofHost('smol-toml') as { parse: (text: string) => unknown };
let dir: string;
let children: ChildProcess[];
const sent: { chat_id: number; text: string }[] = [];
let isBotUp = true;
const bot = createServer((request, response) => {
	let text = '';
	request.on('data', (chunk) => {
		text += String(chunk);
	});
	request.on('end', () => {
		if (isBotUp) sent.push(JSON.parse(text));
		response.writeHead(isBotUp ? 200 : 503).end('{}');
	});
});

beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), 'mvm-counter-'));
	children = [];
	sent.length = 0;
	isBotUp = true;
	await mkdir(join(dir, 'secrets'));
	await writeFile(join(dir, 'secrets/TELEGRAM_BOT_TOKEN'), 'token\n');
	await writeFile(join(dir, 'secrets/TELEGRAM_WEBHOOK_SECRET'), 'hush\n');
	bot.listen(0, '127.0.0.1');
	await once(bot, 'listening');
});
afterEach(async () => {
	for (const child of children) child.kill('SIGKILL');
	await new Promise((done) => bot.close(done));
	await rm(dir, { recursive: true });
});

const environment = (): Record<string, string> => ({
	PATH: process.env['PATH'] ?? '',
	COUNTER_STATE_DIR: join(dir, 'state'),
	COUNTER_SECRETS_DIR: join(dir, 'secrets'),
	COUNTER_BOT_API: `http://127.0.0.1:${(bot.address() as AddressInfo).port}`,
});

async function counter() {
	const probe = createServer().listen(0, '127.0.0.1');
	await once(probe, 'listening');
	const { port } = probe.address() as AddressInfo;
	await new Promise((done) => probe.close(done));
	const child = spawn(process.execPath, [join(EXAMPLE, 'app/main.js')], {
		env: { ...environment(), PORT: String(port) },
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	children.push(child);
	if (child.stdout) await once(child.stdout, 'data');
	const url = `http://127.0.0.1:${port}`;
	return {
		child,
		port,
		deliver: (id: number, text = 'hi', secret = 'hush') =>
			fetch(`${url}/telegram-webhook`, {
				method: 'POST',
				headers: { 'x-telegram-bot-api-secret-token': secret },
				body: JSON.stringify({ update_id: id, message: { chat: { id: 7 }, text } }),
			}),
		count: async () => (await fetch(`${url}/count`)).json() as Promise<{ count: number; duplicates: number }>,
	};
}

test('counts every event once, says so durably, and answers each once, over kill -9 and a half written line', async () => {
	const first = await counter();
	const answers = await Promise.all([1, 2, 3, 2, 1, 3].map((id) => first.deliver(id)));
	expect(answers.every((a) => a.status === 200 && a.headers.get('x-openclaw-delivery-accepted') === 'durable')).toBe(true);
	expect(await first.count()).toMatchObject({ count: 3, duplicates: 3 });
	await eventually(() => sent.length === 3);
	isBotUp = false;
	expect((await first.deliver(4)).status).toBe(200);
	first.child.kill('SIGKILL');
	await once(first.child, 'exit');
	await appendFile(join(dir, 'state/events.log'), '{"update_id":99,"ch');
	isBotUp = true;
	const second = await counter();
	expect(await second.count()).toMatchObject({ count: 4 });
	await eventually(() => sent.length === 4);
	expect(sent.map(({ text }) => text).sort()).toEqual(['message 1: hi', 'message 2: hi', 'message 3: hi', 'message 4: hi']);
	expect((await second.deliver(5, 'x', 'wrong')).status).toBe(401);
	second.child.kill('SIGTERM');
	expect((await once(second.child, 'exit'))[0]).toBe(0);
});

test('its checkpoint is verified by its restore, which lets later events stand and refuses a changed ledger', async () => {
	const { deliver, port } = await counter();
	const script = (name: string): string =>
		execFileSync('sh', [join(EXAMPLE, 'app', name)], { env: environment(), encoding: 'utf8', stdio: 'pipe' });
	script('restore.sh');
	await deliver(1);
	script('checkpoint.sh');
	await deliver(2);
	script('restore.sh');
	const file = join(dir, 'state/events.log');
	await writeFile(file, (await readFile(file, 'utf8')).replace('"hi"', '"no"'));
	expect(() => script('restore.sh')).toThrow(/not the one that was checkpointed/);
	const health = (at: number): unknown =>
		execFileSync(process.execPath, [join(EXAMPLE, 'app/health.js')], { env: { PORT: String(at) }, stdio: 'pipe' });
	health(port);
	expect(() => health(1)).toThrow();
});

test('its deploy file and image recipe are right', async () => {
	const deploy = parseDeployFile(parseToml(await readFile(join(EXAMPLE, 'deploy.toml'), 'utf8')));
	expect(deploy).toMatchObject({ ok: true });
	const recipe = ImageRecipe.parse(parseToml(await readFile(join(EXAMPLE, 'counter.image.toml'), 'utf8')));
	expect(recipe).toMatchObject({ kind: 'dir', name: 'counter', to: '/opt/app' });
});
