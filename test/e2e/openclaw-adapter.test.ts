// The adapter against a real OpenClaw: message with durable proof, memory across turns, suspend, freeze, thaw, refusals. One gateway
// for the file; the tests run in order and each leaves it open.
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectGateway, GatewayError } from '../../packages/guest/src/openclaw/gateway-client.ts';
import { type RealGateway, startRealGateway } from '../support/openclaw-gateway.ts';
import { OPENCLAW_VERSION } from '../support/openclaw-install.ts';

const CHAT = 4242;
const soon = (ms = 60_000): AbortSignal => AbortSignal.timeout(ms);
let gateway: RealGateway;

beforeAll(async () => {
	gateway = await startRealGateway({ modelLatencyMs: 500 });
});
afterAll(async () => {
	await gateway?.close();
});

/** Sends a message and returns the reply to it. */
async function say(text: string): Promise<string> {
	const { telegram } = gateway;
	const before = telegram.sent.length;
	const update = telegram.userSends({ chatId: CHAT, text });
	await telegram.waitForAttempt((attempt) => attempt.updateId === update.update_id && attempt.status === 200, soon());
	return (await telegram.waitForMessage((message) => telegram.sent.indexOf(message) >= before, soon())).text;
}
async function untilIdle(): Promise<void> {
	while ((await gateway.adapter.busy({ signal: soon() })).length > 0) await delay(100);
}
const report = (stdout: string): Record<string, unknown> => JSON.parse(stdout) as Record<string, unknown>;

describe('a real OpenClaw gateway', () => {
	test('takes its token and secrets from the provider, none from its environment', async () => {
		const environ = await readFile(`/proc/${gateway.pid}/environ`, 'utf8');
		expect(environ).not.toContain(gateway.adapter.workloadToken?.() ?? 'no token');
		expect(environ).not.toContain('hook-secret-for-tests');
		expect((await gateway.command(['health'])).code).toBe(0);
		expect(await gateway.command(['health', 'telegram'])).toMatchObject({ code: 0, stderr: '' });
		expect(await gateway.command(['health', 'whatsapp'])).toMatchObject({
			code: 1,
			stderr: expect.stringContaining('not configured'),
		});
		const address = { url: `ws://127.0.0.1:${gateway.env['OPENCLAW_GATEWAY_PORT']}`, token: 'x'.repeat(43) };
		await expect(connectGateway(address, { signal: soon() })).rejects.toBeInstanceOf(GatewayError);
	});

	test('answers a webhook message and remembers it in the next turn', async () => {
		expect(await say('please remember nonce-7f3a')).toBe('I will remember nonce-7f3a.');
		expect(await say('what did I ask you to remember?')).toBe('You asked me to remember nonce-7f3a.');
		expect(gateway.model.requests.at(-1)?.body).toContain('nonce-7f3a');
	});

	test('answers an update only once, however often it is delivered', async () => {
		await untilIdle();
		const [turns, sent] = [gateway.model.requests.length, gateway.telegram.sent.length];
		const update = gateway.telegram.userSends({ chatId: CHAT, text: 'count me once' });
		await gateway.telegram.waitForMessage((message) => gateway.telegram.sent.indexOf(message) >= sent, soon());
		gateway.telegram.redeliver(update);
		await expect.poll(() => gateway.telegram.attempts.filter(({ updateId }) => updateId === update.update_id).length).toBe(2);
		await delay(1_500);
		await untilIdle();
		expect(gateway.model.requests.length).toBe(turns + 1);
		expect(gateway.telegram.sent.length).toBe(sent + 1);
	});

	test('is busy during a turn; a checkpoint waits for it and never tells the person of a restart', async () => {
		const before = gateway.telegram.sent.length;
		const update = gateway.telegram.userSends({ chatId: CHAT, text: 'slow one' });
		await gateway.telegram.waitForAttempt(({ updateId }) => updateId === update.update_id, soon());
		const running = gateway.command(['checkpoint']);
		await expect.poll(() => gateway.adapter.busy({ signal: soon() }), { interval: 20 }).not.toEqual([]);
		const checkpoint = await running;
		expect(checkpoint.stderr).toBe('');
		expect(checkpoint.code).toBe(0);
		expect(gateway.telegram.sent.slice(before).map(({ text }) => text)).toEqual([
			expect.stringMatching(/^I have read \d+ messages\.$/),
		]);
		await gateway.adapter.resume({ signal: soon() });
	});

	test('is held by a checkpoint, survives a freeze and goes on with the conversation', async () => {
		await untilIdle();
		const checkpoint = await gateway.command(['checkpoint']);
		expect(checkpoint.code).toBe(0);
		expect(report(checkpoint.stdout)).toMatchObject({ suspended: true, openclaw: OPENCLAW_VERSION });
		expect(JSON.parse(await readFile(join(dirname(gateway.stateDir), 'version.json'), 'utf8'))).toMatchObject({
			openclaw: OPENCLAW_VERSION,
			state_schema: 18,
			agent_schema: 23,
			node: process.versions.node,
		});
		// Later, right before the freeze: the same lease again.
		expect(await gateway.adapter.prepareSleep({ budgetMs: 10_000, signal: soon() })).toEqual({ ready: true });
		expect((await gateway.command(['health'])).code).toBe(1);
		gateway.signal('SIGSTOP');
		await delay(3_000);
		gateway.signal('SIGCONT');
		await gateway.adapter.resume({ signal: soon() });
		await gateway.adapter.resume({ signal: soon() });
		expect(await say('what did I ask you to remember?')).toBe('You asked me to remember nonce-7f3a.');
	});

	test('refuses to sleep while a stored event waits, and answers it when resumed', async () => {
		await untilIdle();
		expect((await gateway.command(['suspend'])).code).toBe(0);
		const before = gateway.telegram.sent.length;
		const update = gateway.telegram.userSends({ chatId: CHAT, text: 'late message' });
		await gateway.telegram.waitForAttempt(({ updateId, status }) => updateId === update.update_id && status === 200, soon());
		expect((await gateway.command(['pending'])).code).toBe(75);
		const refused = await gateway.command(['checkpoint', '--budget-secs', '1']);
		expect(refused.code).toBe(75);
		expect(refused.stderr).toContain('not answered yet');
		expect(await gateway.adapter.prepareSleep({ budgetMs: 1_500, signal: soon() })).toMatchObject({ ready: false });
		await gateway.adapter.resume({ signal: soon() });
		const reply = await gateway.telegram.waitForMessage((message) => gateway.telegram.sent.indexOf(message) >= before, soon());
		expect(reply.text).toMatch(/^I have read/);
	});

	test('is not restored by an older OpenClaw', async () => {
		const file = join(dirname(gateway.stateDir), 'version.json');
		const recorded = await readFile(file, 'utf8');
		expect((await gateway.command(['restore'])).code).toBe(0);
		await writeFile(file, recorded.replace(OPENCLAW_VERSION, '2099.1.0'));
		const refused = await gateway.command(['restore']);
		expect(refused.code).toBe(78);
		expect(refused.stderr).toContain('written by openclaw 2099.1.0');
		await writeFile(file, recorded);
	});

	test('stops politely, with exit code 0', async () => {
		await untilIdle();
		expect(await gateway.stop()).toBe(0);
	});
});
