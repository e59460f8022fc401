// The client and the suspension logic against a fake gateway that can be told to be busy, slow or strange.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FakeGateway, startFakeGateway } from '../../../../test/support/fake-openclaw.ts';
import { connectGateway, connectPatiently, type GatewayConnection } from './gateway-client.ts';
import { type Blocker, isConversation, prepareSuspension, resumeSuspension } from './suspension.ts';
import { readWork } from './work.ts';

const token = 'a-token-of-the-fake-gateway';
const soon = (ms = 5_000): AbortSignal => AbortSignal.timeout(ms);
const turn = { kind: 'embedded-run', count: 1, message: '1 active embedded run(s)' };
const job = { kind: 'cron-run', count: 1, message: '1 active cron run(s)' };
let fake: FakeGateway;
let gateway: GatewayConnection;

beforeEach(async () => {
	fake = await startFakeGateway({ token });
	gateway = await connectGateway({ url: fake.url, token }, { signal: soon() });
});
afterEach(async () => {
	gateway.close();
	await fake.close();
});

const prepare = (input: { budgetMs?: number; ingress?: () => Blocker[] } = {}): ReturnType<typeof prepareSuspension> =>
	prepareSuspension(gateway, {
		budgetMs: input.budgetMs ?? 2_000,
		signal: soon(),
		conversations: async (limits) => [...(input.ingress?.() ?? []), ...(await readWork(gateway, limits)).filter(isConversation)],
	});

describe('the client', () => {
	test('knows the version and the phase after the handshake', () => {
		expect(gateway.serverVersion).toBe('2026.9.6');
		expect(gateway.suspensionPhase).toBe('accepting');
	});

	test('refuses a wrong token for good', async () => {
		await expect(connectPatiently({ url: fake.url, token: 'wrong' }, { signal: soon() })).rejects.toMatchObject({
			code: 'UNAUTHORIZED',
			retryable: false,
		});
	});

	test('waits for a gateway that is starting, and says what it said when the wait is over', async () => {
		fake.starting = true;
		const address = { url: fake.url, token };
		await expect(connectPatiently(address, { signal: soon(150) })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
		const connecting = connectPatiently(address, { signal: soon() });
		await delay(60);
		fake.starting = false;
		(await connecting).close();
	});

	test('says that nothing listens', async () => {
		await fake.close();
		await expect(connectGateway({ url: fake.url, token }, { signal: soon() })).rejects.toMatchObject({
			code: 'UNREACHABLE',
			retryable: true,
		});
	});

	test('ends every call when the gateway sends no frame', async () => {
		fake.garbleNext = 'gateway.restart.preflight';
		await expect(gateway.call('gateway.restart.preflight', {}, { signal: soon() })).rejects.toMatchObject({ code: 'PROTOCOL' });
		expect(gateway.closed).toBe(true);
	});

	test('passes a refusal on and honours the signal', async () => {
		await expect(gateway.call('nope', {}, { signal: soon() })).rejects.toMatchObject({
			code: 'INVALID_REQUEST',
			retryable: false,
		});
		const gone = AbortSignal.abort(new Error('the caller left'));
		await expect(gateway.call('nope', {}, { signal: gone })).rejects.toThrow('the caller left');
	});
});

describe('prepareSuspension', () => {
	test('holds an idle gateway at once, and renews the same lease', async () => {
		const first = await prepare();
		expect(first.state).toBe('ready');
		expect(fake.phase()).toBe('prepared');
		expect(await prepare()).toMatchObject({ state: 'ready', suspensionId: first.state === 'ready' ? first.suspensionId : '' });
	});

	test('does not close admission while a turn runs', async () => {
		fake.work = [turn];
		const preparing = prepare();
		await delay(300);
		expect(fake.phase()).toBe('accepting');
		expect(fake.calls).not.toContain('gateway.suspend.prepare');
		fake.work = [];
		expect((await preparing).state).toBe('ready');
	});

	test('drains background work', async () => {
		fake.work = [job];
		const preparing = prepare();
		await delay(300);
		expect(fake.phase()).toBe('draining');
		fake.work = [];
		expect((await preparing).state).toBe('ready');
	});

	test('gives up at the end of the budget with the reasons, and opens again', async () => {
		fake.work = [job];
		expect(await prepare({ budgetMs: 300 })).toEqual({ state: 'busy', blockers: [job] });
		expect(fake.phase()).toBe('accepting');
		fake.work = [turn];
		expect(await prepare({ budgetMs: 100 })).toEqual({ state: 'busy', blockers: [turn] });
	});

	test('opens again when an event slipped in before admission closed', async () => {
		let looks = 0;
		const waiting = { kind: 'ingress-pending', count: 1, message: 'one' };
		expect(await prepare({ ingress: () => (++looks === 1 ? [] : [waiting]) })).toEqual({ state: 'busy', blockers: [waiting] });
		expect(fake.phase()).toBe('accepting');
	});

	test("does not take over somebody else's suspension", async () => {
		await gateway.call('gateway.suspend.prepare', { requestId: 'a-person' }, { signal: soon() });
		expect(await prepare({ budgetMs: 200 })).toMatchObject({ state: 'busy', blockers: [{ kind: 'conflict' }] });
		expect(fake.phase()).toBe('prepared');
	});

	test('opens again when the caller leaves in the middle of a drain', async () => {
		fake.work = [job];
		const leave = new AbortController();
		const preparing = prepareSuspension(gateway, { budgetMs: 5_000, signal: leave.signal, conversations: async () => [] });
		await delay(100);
		leave.abort(new Error('sleep was called off'));
		await expect(preparing).rejects.toThrow();
		expect(fake.phase()).toBe('accepting');
	});
});

describe('resumeSuspension', () => {
	test('finds the lease without being told its id, gentle or draining', async () => {
		for (const work of [[], [job]]) {
			fake.work = work;
			const preparing = prepare({ budgetMs: 60_000 }).catch(() => undefined);
			await expect.poll(() => fake.phase()).not.toBe('accepting');
			fake.work = [];
			await preparing;
			const fresh = await connectGateway({ url: fake.url, token }, { signal: soon() });
			expect(await resumeSuspension(fresh, { signal: soon() })).toBe(true);
			expect(fake.phase()).toBe('accepting');
			fresh.close();
		}
	});

	test('tolerates a lease that ran out, one that is unknown, and none', async () => {
		const held = await prepare();
		fake.skewMs = 130_000;
		const suspensionId = held.state === 'ready' ? held.suspensionId : '';
		expect(await resumeSuspension(gateway, { suspensionId, signal: soon() })).toBe(false);
		await prepare();
		expect(await resumeSuspension(gateway, { suspensionId, signal: soon() })).toBe(false);
		const fresh = await connectGateway({ url: fake.url, token }, { signal: soon() });
		expect(await resumeSuspension(fresh, { signal: soon() })).toBe(true);
		const again = await connectGateway({ url: fake.url, token }, { signal: soon() });
		expect(await resumeSuspension(again, { signal: soon() })).toBe(false);
		fresh.close();
		again.close();
	});
});
