import { createHmac } from 'node:crypto';
import { isMvmError, type TenantId } from '@mvm/protocol';
import { beforeAll, expect, test } from 'vitest';
import { CHANNEL, plantTenant, SECRET } from '../../../../test/support/ingress-rows.ts';
import { withDatabase } from '../../../../test/support/postgres.ts';
import { realClock } from '../../../../test/support/real-clock.ts';
import { type AcceptDeps, Acceptor, type InboundMessage } from './accept.ts';
import { channelsOf } from './channel.ts';

const store = withDatabase();
let acme: TenantId;
beforeAll(async () => {
	acme = await plantTenant(store.db, 'acme');
});

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const inbound = (event: unknown, over: Partial<InboundMessage> = {}): InboundMessage => ({
	tenantId: acme,
	channel: CHANNEL,
	rest: '',
	headers: { 'x-hook-secret': SECRET, 'content-type': 'application/json', authorization: 'Bearer no', cookie: 'a=b' },
	body: encode(event),
	traceId: '0123456789abcdef0123456789abcdef',
	...over,
});

function acceptor(over: Partial<AcceptDeps> = {}): Acceptor {
	const loadChannel = channelsOf({ database: store.db, clock: realClock, readSecret: async () => SECRET });
	return new Acceptor({ database: store.db, loadChannel, clock: realClock, isParked: () => false, onStored: () => {}, ...over });
}
const rows = (event: string) =>
	store.asSuperuser<Record<string, unknown>>('select * from ingress_message where event_id = $1 order by id', [event]);
const codeOf = (promise: Promise<unknown>): Promise<string> =>
	promise.then(
		() => 'ok',
		(error) => (isMvmError(error) ? error.code : String(error)),
	);

test('an accepted message is a committed row with what delivery needs and no credential', async () => {
	const accepted = await acceptor().accept(inbound({ id: 'e-1', chat: 7, text: 'ü' }, { rest: '/more?x=1' }));
	expect(accepted).toMatchObject({ outcome: 'stored', eventId: 'e-1' });
	const [row] = await rows('e-1');
	expect(row).toMatchObject({ tenant_id: 'acme', pool_id: 'workers', order_key: '7', state: 'pending', path: '/more?x=1' });
	expect(row?.['headers']).toEqual({ 'content-type': 'application/json' });
	expect(String(row?.['body'])).toBe('{"id":"e-1","chat":7,"text":"ü"}');
});

test('the same event at once and again later is one row, and every sender is told it is accepted', async () => {
	const one = acceptor();
	const outcomes = await Promise.all(Array.from({ length: 20 }, () => one.accept(inbound({ id: 'e-dup', chat: 1 }))));
	outcomes.push(await acceptor().accept(inbound({ id: 'e-dup', chat: 1 })));
	expect(outcomes.filter((o) => o.outcome === 'stored')).toHaveLength(1);
	expect(outcomes.filter((o) => o.outcome === 'duplicate')).toHaveLength(20);
	expect(await rows('e-dup')).toHaveLength(1);
});

test('ids follow the order of arrival across flushes', async () => {
	const one = acceptor();
	const events = Array.from({ length: 600 }, (_, n) => `o-${n}`);
	await Promise.all(events.map((id) => one.accept(inbound({ id, chat: 2 }))));
	const found = await store.asSuperuser<{ event_id: string }>(
		"select event_id from ingress_message where event_id like 'o-%' order by id",
	);
	expect(found.map((row) => row.event_id)).toEqual(events);
});

test('a wrong secret, an unknown channel and an unknown tenant are told apart by nobody, and nothing is stored', async () => {
	const one = acceptor();
	const wrong = { 'x-hook-secret': 'guess' };
	const ghost = 'ghost' as TenantId;
	for (const attempt of [
		inbound({ id: 'w' }, { headers: wrong }),
		inbound({ id: 'w' }, { channel: 'nope' }),
		inbound({ id: 'w' }, { tenantId: ghost }),
	]) {
		expect(await codeOf(one.accept(attempt))).toBe('UNAUTHENTICATED');
	}
	for (const attempt of [inbound({}, { headers: wrong }), inbound({}, { channel: 'nope' }), inbound({}, { tenantId: ghost })]) {
		expect(await codeOf(one.checkSender(attempt))).toBe('UNAUTHENTICATED');
	}
	expect(await codeOf(one.checkSender(inbound({})))).toBe('ok');
	const unset = acceptor({
		loadChannel: channelsOf({ database: store.db, clock: realClock, readSecret: async () => undefined }),
	});
	expect(await codeOf(unset.accept(inbound({ id: 'w' }, { headers: { 'x-hook-secret': '' } })))).toBe('UNAUTHENTICATED');
	expect(await rows('w')).toEqual([]);
});

test('bodies without the declared id are one event when they are equal', async () => {
	const one = acceptor();
	const first = await one.accept(inbound({ text: 'no id' }));
	expect(await one.accept(inbound({ text: 'no id' }))).toEqual({ outcome: 'duplicate', eventId: first.eventId });
	expect((await one.accept(inbound({ text: 'other' }))).outcome).toBe('stored');
	expect((await one.accept(inbound(undefined, { body: Uint8Array.of(0, 255, 1) }))).outcome).toBe('stored');
});

test('a channel may be verified by a signature of the body', async () => {
	const tenantId = await plantTenant(store.db, 'signed');
	await store.asSuperuser(
		`update pool set spec = jsonb_set(spec, '{ingress,0,verify}', '{"header": "X-Sign", "secret": "S", "hmac": {"prefix": "sha256="}}') where tenant_id = 'signed'`,
	);
	const message = inbound({ id: 'h' }, { tenantId });
	const sign = (secret: string): string => `sha256=${createHmac('sha256', secret).update(message.body).digest('hex')}`;
	expect(await codeOf(acceptor().accept({ ...message, headers: { 'x-sign': sign('guess') } }))).toBe('UNAUTHENTICATED');
	expect(await codeOf(acceptor().accept({ ...message, headers: { 'x-sign': sign(SECRET) } }))).toBe('ok');
	expect(await codeOf(acceptor().checkSender({ ...message, headers: {} }))).toBe('ok'); // only the body can tell
});

test('dot segments after the channel are refused', async () => {
	for (const rest of ['/../admin', '/%2e%2E/admin', '/a/./b', '/a%2fb', '\\..']) {
		expect(await codeOf(acceptor().accept(inbound({ id: 'dots' }, { rest })))).toBe('NOT_FOUND');
	}
});

test('a tenant keeps at most its bytes, and may go on once messages are settled', async () => {
	const tenantId = await plantTenant(store.db, 'full');
	const clock = { ...realClock, monotonic: () => now };
	let now = 1_000;
	const one = acceptor({ retainLimitBytes: 1_000, clock });
	const big = (id: string) => inbound({ id, chat: 1, pad: 'x'.repeat(400) }, { tenantId });
	expect(await Promise.all([codeOf(one.accept(big('a'))), codeOf(one.accept(big('b')))])).toEqual(['ok', 'ok']);
	expect(await codeOf(one.accept(big('c')))).toBe('RETAIN_LIMIT');
	await store.asSuperuser("update ingress_message set state = 'settled', body = null where tenant_id = 'full'");
	expect(await codeOf(one.accept(big('c')))).toBe('RETAIN_LIMIT');
	now += 1_001;
	expect(await codeOf(one.accept(big('c')))).toBe('ok');
});

test("a suspended or parked tenant's message is stored and held", async () => {
	const tenantId = await plantTenant(store.db, 'suspended');
	expect((await acceptor({ isParked: () => true }).accept(inbound({ id: 'p' }, { tenantId }))).outcome).toBe('held');
	await store.asSuperuser("update tenant set suspended_at = now() where id = 'suspended'");
	expect((await acceptor().accept(inbound({ id: 's' }, { tenantId }))).outcome).toBe('held');
});

test('when the store goes away nobody is told "accepted", and it works again afterwards', async () => {
	let isDown = true;
	const broken = acceptor({
		database: {
			asSystem: (run) =>
				isDown ? Promise.reject(Object.assign(new Error('gone'), { code: 'ECONNREFUSED' })) : store.db.asSystem(run),
		},
	});
	const codes = await Promise.all(['x', 'y', 'z'].map((id) => codeOf(broken.accept(inbound({ id: `down-${id}` })))));
	expect(codes).toEqual(['STORE_UNAVAILABLE', 'STORE_UNAVAILABLE', 'STORE_UNAVAILABLE']);
	isDown = false;
	expect(await codeOf(broken.accept(inbound({ id: 'down-x' })))).toBe('ok');
});

test('a tenant that is destroyed meanwhile fails its own messages and not its neighbours in the flush', async () => {
	const gone = await plantTenant(store.db, 'gone');
	const load = channelsOf({ database: store.db, clock: realClock, readSecret: async () => SECRET });
	await load(gone, CHANNEL);
	await store.asSuperuser("delete from pool where tenant_id = 'gone'");
	await store.asSuperuser("delete from tenant where id = 'gone'");
	const one = acceptor({ loadChannel: load });
	const codes = await Promise.all([
		codeOf(one.accept(inbound({ id: 'n-1' }))),
		codeOf(one.accept(inbound({ id: 'n-2' }, { tenantId: gone }))),
		codeOf(one.accept(inbound({ id: 'n-3' }))),
	]);
	expect(codes).toEqual(['ok', 'UNAUTHENTICATED', 'ok']);
});
