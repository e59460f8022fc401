// The main job with the counter agent: a message wakes a sleeping instance, is taken with proof and answered; policy puts the instance
// to sleep again with its memory on disk; a second message wakes the same process.

import type { InstanceId, TenantId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import { TestPlatform } from '../support/platform.ts';
import { counterTelegram, deployCounter, sendUpdate } from '../support/platform-deploy.ts';

let platform: TestPlatform;
let telegram: TelegramStandIn;
let secret: string;
let tenant: TenantId;
let instance: InstanceId;
const CHAT = 501;

beforeAll(async () => {
	({ telegram, secret } = await counterTelegram());
	platform = await TestPlatform.start({ upstreams: [telegram.url], config: 'swap = { size_mib = 512 }' });
	tenant = await deployCounter(platform, secret, { telegram });
});
afterAll(async () => {
	await telegram?.close();
	await platform?.stop();
});

test('a new instance boots once and policy puts it to sleep', async () => {
	instance = (
		await platform.until('an instance', async () =>
			(await platform.client.call('instance.list', { query: { tenantId: tenant } })).items.at(0),
		)
	).id;
	const asleep = await platform.untilState(instance, 'sleeping');
	expect(asleep.checkpointId).not.toBeNull();
});

test('a message wakes it, is answered, and is settled by the checkpoint of the next sleep', async () => {
	const before = await platform.instance(instance);
	const from = platform.events.length;
	expect(await sendUpdate(platform, { tenant, secret, update: telegram.userSends({ chatId: CHAT, text: 'hello' }) })).toBe(200);
	const reply = await telegram.waitForMessage((m) => m.text === 'message 1: hello', AbortSignal.timeout(30_000));
	expect(reply.chatId).toBe(CHAT);
	await platform.event('taken', (e) => e.kind === 'ingress.taken', { from });
	const asleep = await platform.untilState(instance, 'sleeping');
	expect(asleep.incarnation).toBeGreaterThan(before.incarnation);
	const { items } = await platform.client.call('ingress.list', { params: { tenant } });
	expect(items.map(({ state, attempts }) => ({ state, attempts }))).toEqual([{ state: 'settled', attempts: 1 }]);
});

test('hibernated, it keeps almost nothing in memory and the second message resumes the same process', async () => {
	const asleep = await platform.untilState(instance, 'sleeping');
	expect(asleep.hibernated).toBe(true);
	expect(asleep.memory?.chargedBytes).toBeLessThan(12_000_000);
	expect(asleep.memory?.swapBytes).toBeGreaterThan(5_000_000);
	const from = platform.events.length;
	expect(await sendUpdate(platform, { tenant, secret, update: telegram.userSends({ chatId: CHAT, text: 'again' }) })).toBe(200);
	await telegram.waitForMessage((m) => m.text === 'message 2: again', AbortSignal.timeout(30_000));
	const woke = await platform.event('woken', (e) => e.kind === 'instance.wake', { from });
	expect(woke.detail).toMatchObject({ outcome: 'resumed' });
	const awake = await platform.instance(instance);
	expect(awake.pid).toBe(asleep.pid);
});
