import { MvmError, type TenantId } from '@mvm/protocol';
import pino from 'pino';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { CHANNEL, plantInstance, plantTenant, SECRET, WORKERS } from '../../../../test/support/ingress-rows.ts';
import { withDatabase } from '../../../../test/support/postgres.ts';
import { realClock } from '../../../../test/support/real-clock.ts';
import { PROOF, type ScriptedInstance, scriptedInstance } from '../../../../test/support/scripted-instance.ts';
import { insertMessages, releaseClaims, resubmitMessage } from '../state/index.ts';
import { channelsOf } from './channel.ts';
import { Delivery, type DeliveryDeps } from './delivery.ts';
import type { DeliveryEvent } from './finish-attempt.ts';
import { onCheckpointed, onRolledBack } from './settle.ts';

const store = withDatabase();
const log = pino({ level: 'silent' });
let acme: TenantId;
let other: TenantId;
beforeAll(async () => {
	acme = await plantTenant(store.db, 'acme');
	other = await plantTenant(store.db, 'other');
	await plantInstance(store.db, acme);
});

const running: { delivery: Delivery; instance: ScriptedInstance }[] = [];
afterEach(async () => {
	for (const { delivery, instance } of running.splice(0)) {
		await delivery.stop({ signal: AbortSignal.abort() });
		await instance[Symbol.asyncDispose]();
		expect(instance.held, 'leases left open').toBe(0);
	}
	await store.asSuperuser('delete from ingress_message');
	await store.asSuperuser('update tenant set suspended_at = null');
});

async function start(over: Partial<DeliveryDeps> = {}, instance = scriptedInstance()) {
	const events: DeliveryEvent[] = [];
	const delivery = new Delivery({
		database: store.db,
		clock: realClock,
		log,
		orchestrator: instance,
		loadChannel: channelsOf({ database: store.db, clock: realClock, readSecret: async () => SECRET }),
		random: () => 0.5,
		holdDeadlineMs: 5_000,
		answerDeadlineMs: 5_000,
		claim: `test-${Math.random()}`,
		record: async (_tx, event) => void events.push(event),
		...over,
	});
	running.push({ delivery, instance });
	await delivery.start({ recover: false });
	return { delivery, instance, events };
}

const put = (events: readonly { id: string; chat?: string; tenant?: TenantId }[]) =>
	store.db.asSystem((tx) =>
		insertMessages(
			tx,
			events.map(({ id, chat = '', tenant = acme }) => ({
				tenantId: tenant,
				poolId: WORKERS,
				channel: CHANNEL,
				eventId: id,
				orderKey: chat,
				path: '?q=1',
				headers: { 'content-type': 'application/json' },
				body: new TextEncoder().encode(JSON.stringify({ id })),
				traceId: 'abcdefabcdefabcdefabcdefabcdefab',
			})),
		),
	);
interface Row {
	readonly event_id: string;
	readonly state: string;
	readonly attempts: number;
	readonly last_error: string | null;
	readonly body: Buffer | null;
	readonly taken_incarnation: string | null;
	readonly claimed_by: string | null;
}
const rows = (): Promise<Row[]> => store.asSuperuser<Row & Record<string, unknown>>('select * from ingress_message order by id');
const states = async (): Promise<string[]> => (await rows()).map((row) => row.state);
const until = <T>(check: () => Promise<T> | T, expected: T): Promise<void> =>
	expect.poll(check, { timeout: 8_000, interval: 10 }).toEqual(expected);

test('a stored message wakes the instance, arrives pinned and is taken on the proof', async () => {
	const { instance, events } = await start();
	await put([{ id: 'one', chat: '7' }]);
	await until(states, ['taken']);
	expect(instance.acquired).toEqual([
		{ tenantId: acme, poolId: WORKERS, orderKey: '7', why: 'ingress', traceId: 'abcdefabcdefabcdefabcdefabcdefab' },
	]);
	const [request] = instance.arrived;
	expect(request).toMatchObject({ method: 'POST', url: '/hook?q=1', body: '{"id":"one"}' });
	expect(request?.headers).toMatchObject({
		'x-hook-secret': SECRET,
		'x-tenant-id': 'acme',
		'content-type': 'application/json',
		host: '127.0.0.1:8787',
		traceparent: expect.stringMatching(/^00-abcdefabcdefabcdefabcdefabcdefab-[0-9a-f]{16}-01$/),
	});
	expect(events.map((e) => e.kind)).toEqual(['ingress.taken']);
	expect((await rows())[0]).toMatchObject({ taken_incarnation: '1', claimed_by: null, attempts: 1 });
});

test('a 2xx without the proof is no delivery; the next attempt may be', async () => {
	const { instance, events } = await start();
	let answers = 0;
	instance.respond = (_request, response) => {
		answers += 1;
		const headers = answers === 1 ? {} : { [PROOF.header]: answers === 2 ? 'maybe' : PROOF.equals };
		response.writeHead(200, headers).end();
	};
	await put([{ id: 'one' }]);
	await until(states, ['taken']);
	expect(answers).toBe(3);
	expect(events.map((e) => e.kind)).toEqual(['ingress.retry', 'ingress.retry', 'ingress.taken']);
});

test('within a lane nothing overtakes, also while its head fails; other lanes pass', async () => {
	const { instance } = await start();
	let failures = 2;
	instance.respond = (request, response) => {
		if (request.body.includes('a-1') && failures-- > 0) response.writeHead(500).end();
		else response.writeHead(200, { [PROOF.header]: PROOF.equals }).end();
	};
	await put([
		{ id: 'a-1', chat: 'a' },
		{ id: 'a-2', chat: 'a' },
		{ id: 'b-1', chat: 'b' },
		{ id: 'a-3', chat: 'a' },
	]);
	await until(states, ['taken', 'taken', 'taken', 'taken']);
	const order = instance.arrived.map((request) => JSON.parse(request.body).id as string);
	expect(order.filter((id) => id.startsWith('a'))).toEqual(['a-1', 'a-1', 'a-1', 'a-2', 'a-3']);
	expect(order.indexOf('b-1')).toBeLessThan(order.indexOf('a-2'));
});

test('two deliverers on the same messages: each is delivered once, and lanes stay in order', async () => {
	const instance = scriptedInstance();
	let atOnce = 0;
	let most = 0;
	instance.respond = async (_request, response) => {
		atOnce += 1;
		most = Math.max(most, atOnce);
		await new Promise((resolve) => setImmediate(resolve));
		atOnce -= 1;
		response.writeHead(200, { [PROOF.header]: PROOF.equals }).end();
	};
	await start({}, instance);
	await start({}, instance);
	const ids = Array.from({ length: 60 }, (_, n) => ({ id: `m-${n}`, chat: String(n % 3) }));
	await put(ids);
	await until(async () => (await states()).every((state) => state === 'taken'), true);
	const order = instance.arrived.map((request) => Number(JSON.parse(request.body).id.slice(2)));
	expect(order).toHaveLength(60);
	for (const lane of [0, 1, 2]) {
		const own = order.filter((n) => n % 3 === lane);
		expect(own).toEqual([...own].sort((a, b) => a - b));
	}
	expect(most).toBeLessThanOrEqual(3);
});

test('a deliverer that dies in the middle costs a second delivery and nothing else', async () => {
	const dying = await start();
	const reached = Promise.withResolvers<void>();
	dying.instance.respond = () => reached.resolve(); // takes the message and never answers
	await put([{ id: 'once' }, { id: 'then' }]);
	await reached.promise;
	await dying.delivery.stop({ signal: AbortSignal.abort() });
	await store.asSuperuser(
		"update ingress_message set claimed_by = 'dead', next_attempt_at = now() + interval '1 hour' where event_id = 'once'",
	);
	const next = await start();
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(next.instance.arrived).toEqual([]); // the claim still stands, and the lane waits behind it
	expect(await store.db.asSystem((tx) => releaseClaims(tx, { but: 'me' }))).toHaveLength(1);
	next.delivery.poke();
	await until(states, ['taken', 'taken']);
	expect(next.instance.arrived.map((request) => JSON.parse(request.body).id)).toEqual(['once', 'then']);
});

test('a deliverer whose claim was taken away changes nothing', async () => {
	const { instance } = await start();
	instance.respond = async (_request, response) => {
		await store.asSuperuser("update ingress_message set claimed_by = 'somebody else'");
		response.writeHead(200, { [PROOF.header]: PROOF.equals }).end();
	};
	await put([{ id: 'stolen' }]);
	await until(() => instance.arrived.length, 1);
	await until(() => instance.held, 0);
	expect((await rows())[0]).toMatchObject({ state: 'pending', claimed_by: 'somebody else' });
});

test('a suspended tenant is not delivered to and its neighbour is; resuming delivers', async () => {
	const { instance, delivery } = await start();
	await store.asSuperuser("update tenant set suspended_at = now() where id = 'acme'");
	await put([{ id: 's' }, { id: 'n', tenant: other }]);
	await until(async () => [...(await states())].sort(), ['pending', 'taken']);
	expect(instance.arrived).toHaveLength(1);
	await store.asSuperuser('update tenant set suspended_at = null');
	delivery.poke();
	await until(states, ['taken', 'taken']);
});

test('over quota parks without counting attempts, and marks the tenant', async () => {
	const { instance, delivery, events } = await start();
	instance.onAcquire = () => {
		throw new MvmError('QUOTA_EXCEEDED', 'no more');
	};
	await put([{ id: 'q' }]);
	await until(() => delivery.isParked(acme), true);
	await until(async () => (await rows())[0]?.attempts, 0);
	expect(events.map((e) => e.kind)).toEqual(['ingress.parked']);
	instance.onAcquire = () => {};
	await store.asSuperuser('update ingress_message set next_attempt_at = now()');
	delivery.poke();
	await until(states, ['taken']);
	expect(delivery.isParked(acme)).toBe(false);
});

test('a message that is refused for good becomes a visible dead letter, the lane goes on, and it can be resubmitted', async () => {
	const { instance, delivery, events } = await start();
	instance.respond = (request, response) => {
		const isBad = request.body.includes('bad');
		response.writeHead(isBad ? 422 : 200, { [PROOF.header]: PROOF.equals }).end();
	};
	const [id = 0] = await put([{ id: 'bad' }, { id: 'good' }]);
	await until(states, ['dead', 'taken']);
	expect(events.map((e) => e.kind)).toEqual(['ingress.retry', 'ingress.retry', 'ingress.dead', 'ingress.taken']);
	expect((await rows())[0]?.last_error).toMatch(/status 422 .*the last/);
	expect((await rows())[0]?.body).not.toBeNull();
	instance.respond = (_request, response) => {
		response.writeHead(200, { [PROOF.header]: PROOF.equals }).end();
	};
	expect(await store.db.asTenant(other, (tx) => resubmitMessage(tx, { tenantId: other, id }))).toBe(false);
	expect(await store.db.asTenant(acme, (tx) => resubmitMessage(tx, { tenantId: acme, id }))).toBe(true);
	delivery.poke();
	await until(states, ['taken', 'taken']);
});

test('garbage, a flood and silence from the instance are each a failed attempt', async () => {
	const { instance } = await start({ answerDeadlineMs: 300 });
	instance.respond = (request, response) => {
		if (request.body.includes('garbage')) response.socket?.end('not http at all\r\n\r\n');
		else if (request.body.includes('flood')) response.writeHead(200, { [PROOF.header]: PROOF.equals }).end('x'.repeat(200_000));
	};
	await put([
		{ id: 'garbage', chat: '1' },
		{ id: 'flood', chat: '2' },
		{ id: 'silence', chat: '3' },
	]);
	await until(async () => (await rows()).every((row) => row.last_error !== null), true);
	const found = new Map((await rows()).map((row) => [row.event_id, row.last_error]));
	expect(found.get('garbage')).toContain('GUEST_PROTOCOL');
	expect(found.get('flood')).toContain('over 65536 bytes');
	expect(found.get('silence')).toContain('TIMEOUT');
	await until(() => instance.held, 0);
});

test('a tenant with many lanes leaves room for the others', async () => {
	const gate = Promise.withResolvers<void>();
	const { instance } = await start({ maxInFlight: 4, maxPerTenant: 2 });
	instance.respond = async (request, response) => {
		if (!request.body.includes('other')) await gate.promise;
		response.writeHead(200, { [PROOF.header]: PROOF.equals }).end();
	};
	await put(Array.from({ length: 20 }, (_, n) => ({ id: `m-${n}`, chat: String(n) })));
	await until(() => instance.held, 2);
	await put([{ id: 'other', tenant: other }]);
	await until(async () => (await rows()).find((row) => row.event_id === 'other')?.state, 'taken');
	gate.resolve();
	await until(async () => (await states()).every((state) => state === 'taken'), true);
});

test('a long backlog of many conversations is brought in with few looks, each conversation in order', async () => {
	let looks = 0;
	const counted: DeliveryDeps['database'] = {
		...store.db,
		listen: (channel, handler) => store.db.listen(channel, handler),
		asSystem: (run, options) => {
			if (/dueLanes/.test(String(run))) looks += 1;
			return store.db.asSystem(run, options);
		},
	};
	await put(Array.from({ length: 900 }, (_, n) => ({ id: `b-${n}`, chat: `c-${n % 300}` })));
	const { instance } = await start({ database: counted });
	await expect
		.poll(async () => (await states()).every((state) => state === 'taken'), { timeout: 25_000, interval: 50 })
		.toBe(true);
	const order = instance.arrived.map((request) => Number(JSON.parse(request.body).id.slice(2)));
	expect(order).toHaveLength(900);
	for (let chat = 0; chat < 300; chat += 1) expect(order.filter((n) => n % 300 === chat)).toEqual([chat, chat + 300, chat + 600]);
	expect(looks).toBeLessThan(60);
});

test('a checkpoint settles what was taken before its freeze; a fallback by one checkpoint loses nothing', async () => {
	const { instance } = await start();
	const instanceId = 'i-00000001' as const;
	const deps = { database: store.db, log, onReturned: () => {} };
	const moment = (checkpointId: string) => ({ instanceId: instanceId as never, checkpointId, frozenAt: new Date() });
	await put([{ id: 'm-1' }]);
	await until(states, ['taken']);
	const first = moment('cp-1');
	await onCheckpointed(deps, first);
	await until(states, ['settled']);
	await new Promise((resolve) => setTimeout(resolve, 5));
	await put([{ id: 'm-2' }]);
	await until(states, ['settled', 'taken']);
	await onCheckpointed(deps, first); // announced twice: nothing that came later is settled
	expect(await states()).toEqual(['settled', 'taken']);
	await onCheckpointed(deps, moment('cp-2'));
	expect((await rows()).map((row) => [row.state, row.body === null])).toEqual([
		['settled', true],
		['settled', false],
	]);
	await onRolledBack(deps, first);
	expect((await rows()).map((row) => row.state)).toEqual(['settled', 'pending']);
	await running[0]?.delivery.poke();
	await until(states, ['settled', 'taken']);
	expect(instance.arrived.map((request) => JSON.parse(request.body).id)).toEqual(['m-1', 'm-2', 'm-2']);
});

test('what a destroyed instance had taken is delivered to another one', async () => {
	const { instance } = await start();
	await put([{ id: 'left' }]);
	await until(states, ['taken']);
	await store.asSuperuser("update instance set state = 'destroyed'");
	await start({}, instance);
	await until(() => instance.arrived.length, 2);
	await store.asSuperuser("update instance set state = 'running'");
});

test('a deliverer that is poked while it stops lets the delivery in flight end, and takes no other', async () => {
	const gate = Promise.withResolvers<void>();
	const { instance, delivery } = await start();
	instance.respond = async (_request, response) => {
		await gate.promise;
		response.writeHead(200, { [PROOF.header]: PROOF.equals }).end();
	};
	await put([{ id: 'first' }, { id: 'second' }]);
	await until(() => instance.arrived.length, 1);
	const stopping = delivery.stop({ signal: AbortSignal.timeout(5_000) });
	delivery.poke();
	gate.resolve();
	await stopping;
	expect(await states()).toEqual(['taken', 'pending']);
});

test('the store away for a moment delays a delivery and loses nothing', async () => {
	let isDown = false;
	const flaky: DeliveryDeps['database'] = {
		...store.db,
		listen: (channel, handler) => store.db.listen(channel, handler),
		asSystem: (run, options) =>
			isDown ? Promise.reject(new MvmError('STORE_UNAVAILABLE', 'away')) : store.db.asSystem(run, options),
	};
	const { delivery } = await start({ database: flaky });
	isDown = true;
	await put([{ id: 'later' }]);
	delivery.poke();
	await new Promise((resolve) => setTimeout(resolve, 50));
	isDown = false;
	await until(states, ['taken']);
});
