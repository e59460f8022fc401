// 150 callers at once find one sleeping instance: one wake, 150 answers.
import type { InstanceId, TenantId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import { TestPlatform } from '../support/platform.ts';
import { counterTelegram, deployCounter } from '../support/platform-deploy.ts';

const CALLERS = 150;

let platform: TestPlatform;
let telegram: TelegramStandIn;
let tenant: TenantId;
let instance: InstanceId;

beforeAll(async () => {
	const parts = await counterTelegram();
	telegram = parts.telegram;
	platform = await TestPlatform.start({ upstreams: [telegram.url], config: 'swap = { size_mib = 512 }' });
	tenant = await deployCounter(platform, parts.secret, { telegram });
	({ id: instance } = await platform.until('an instance', async () =>
		(await platform.client.call('instance.list', { query: { tenantId: tenant } })).items.at(0),
	));
});
afterAll(async () => {
	await telegram?.close();
	await platform?.stop();
});

test.for(['hibernated', 'cold'] as const)('%s: 150 concurrent first requests cause one wake and 150 answers', async (how) => {
	await platform.untilState(instance, 'sleeping');
	if (how === 'cold') {
		// Its memory is lost, as after a restart of the host.
		await platform.client.call('instance.stop', { params: { instance }, body: { force: true } });
		await platform.untilState(instance, 'stopped');
	}
	const { key } = await platform.client.call('key.create', { body: { role: 'operator', name: `crowd ${how}` } });
	const before = (await platform.instance(instance)).incarnation;
	const from = platform.events.length;
	const answers = await Promise.all(
		Array.from({ length: CALLERS }, async () => {
			const answer = await fetch(`${platform.edge}/t/${tenant}/workers/count`, {
				headers: { authorization: `Bearer ${key}` },
				signal: AbortSignal.timeout(60_000),
			});
			return { status: answer.status, body: (await answer.json()) as { count?: number; pid?: number } };
		}),
	);
	expect(answers.filter(({ status, body }) => status !== 200 || body.count !== 0)).toEqual([]);
	expect(new Set(answers.map(({ body }) => body.pid)).size).toBe(1);
	await platform.event('the wake', (e) => e.kind === 'instance.wake' || e.kind === 'instance.start', { from });
	const wakes = platform.events.slice(from).filter((e) => e.kind === 'instance.wake' || e.kind === 'instance.start');
	expect(wakes.map((e) => e.detail['outcome'])).toEqual([how === 'cold' ? 'cold-boot' : 'resumed']);
	expect((await platform.instance(instance)).incarnation).toBe(before + 1);
});
