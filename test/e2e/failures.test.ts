// What goes wrong from outside: a database that is killed and comes back, workloads that never become ready, guests that send garbage
// or stall, no room for memory on disk, names that do not exist. A clear error each, nothing lost, everybody else goes on.
import { copyFileSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isMvmError, MvmError, parseInstanceId, type TenantId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import { TestPlatform } from '../support/platform.ts';
import { counterTelegram, deployCounter, sendUpdate } from '../support/platform-deploy.ts';
import { deployProbe } from '../support/platform-probe.ts';

let platform: TestPlatform;
let telegram: TelegramStandIn;
let secret: string;
let tenant: TenantId;

/** The managed swap file is smaller than any agent; swap of somebody else on this host would be used in its place. */
const hasForeignSwap = readFileSync('/proc/swaps', 'utf8').trim().split('\n').length > 1;

beforeAll(async () => {
	({ telegram, secret } = await counterTelegram());
	platform = await TestPlatform.start({ upstreams: [telegram.url], config: 'swap = { size_mib = 8 }' });
	const [dist = ''] = readdirSync(join(platform.folders.data, 'dist')).map((name) =>
		join(platform.folders.data, 'dist', name, 'guest'),
	);
	renameSync(join(dist, 'agent.cjs'), join(dist, 'agent.real.cjs'));
	copyFileSync(resolve(import.meta.dirname, '../support/fake-agent.cjs'), join(dist, 'agent.cjs'));
	tenant = await deployCounter(platform, secret, { telegram });
});
afterAll(async () => {
	await telegram?.close();
	await platform?.stop();
});

const lonely = (id: TenantId) =>
	platform.until(`an instance of ${id}`, async () =>
		(await platform.client.call('instance.list', { query: { tenantId: id } })).items.at(0),
	);

test.skipIf(hasForeignSwap)(
	'swap that is too small for an agent: it sleeps cold, wakes, and doctor says what there is',
	async () => {
		const { id } = await lonely(tenant);
		const asleep = await platform.untilState(id, 'sleeping');
		expect(asleep.hibernated).toBe(false);
		expect(asleep.pid).toBeNull();
		const update = telegram.userSends({ chatId: 3, text: 'cold' });
		expect(await sendUpdate(platform, { tenant, secret, update })).toBe(200);
		await telegram.waitForMessage(({ text }) => text.endsWith(': cold'), AbortSignal.timeout(60_000));
		const { checks } = await platform.client.call('host.doctor', undefined as never);
		expect(checks.find(({ name }) => name.toLowerCase().includes('swap'))).toBeDefined();
	},
);

test('while Postgres is away nothing is accepted with a 2xx; when it is back, everything accepted is counted', async () => {
	const accepted: string[] = [];
	const seen = new Map<number, string>();
	let sent = 0;
	const send = async (): Promise<number> => {
		const update = telegram.userSends({ chatId: 3, text: `storm ${sent++}` });
		const answer = await fetch(`${platform.edge}/in/${tenant}/telegram`, {
			method: 'POST',
			headers: { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': secret },
			body: JSON.stringify(update),
		});
		const { code = '' } = (await answer.json()) as { code?: string };
		seen.set(answer.status, code);
		if (answer.status === 200) accepted.push(update.message.text);
		return answer.status;
	};
	// As soon as it is back it is killed again: what comes in waits for it for a while, and is then refused.
	const storm = new AbortController();
	const killing = (async () => {
		while (!storm.signal.aborted) {
			platform.kill('postmaster');
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	})();
	const endsAt = performance.now() + 60_000;
	while (!seen.has(503) && performance.now() < endsAt) await Promise.all([send(), send(), send()]);
	storm.abort();
	await killing;
	expect([...seen.keys()].filter((status) => status !== 200 && status !== 503)).toEqual([]);
	expect(seen.get(503)).toBe('STORE_UNAVAILABLE');
	await platform.ready();
	await platform.until('an accept again', async () => (await send()) === 200);
	const { id } = await lonely(tenant);
	await platform.until(
		'everything to be settled',
		async () => {
			const { items } = await platform.client.call('ingress.list', { params: { tenant }, query: { limit: '999' } });
			return items.length >= accepted.length && items.every(({ state }) => state === 'settled');
		},
		{ timeoutMs: 120_000 },
	);
	await platform.untilState(id, 'sleeping');
	const replies = telegram.sent.map(({ text }) => text.replace(/^message \d+: /, ''));
	for (const text of accepted) expect(replies, text).toContain(text);
});

test('a worker that never becomes ready: the deadline, the reason and its last lines are told', async () => {
	const id = await deployProbe(platform, {
		tenant: 'late',
		recipe: {
			name: 'late',
			workload: {
				command: ['/bin/sh', '-c', 'echo still warming up; exec sleep 1000'],
				ready: { port: 8787, path: '/', timeout_secs: 2 },
				stop_timeout_secs: 1,
			},
		},
	});
	const failed = await platform.event('the failed start', (e) => e.tenantId === id && e.kind === 'instance.start');
	expect(failed.detail['outcome']).toBe('NOT_READY');
	expect(String(failed.detail['message'])).toContain('2 s');
	expect(JSON.stringify(failed.detail['last_log_lines'])).toContain('still warming up');
	const view = await lonely(id);
	expect(view.conditions.find(({ type }) => type === 'StartFailed')).toMatchObject({ status: true, reason: 'NOT_READY' });
	expect(view.backoffUntil).not.toBeNull();
	await platform.client.call('tenant.destroy', { params: { tenant: id } });
});

test('a worker that keeps exiting is a crash loop with its last lines', async () => {
	const id = await deployProbe(platform, {
		tenant: 'crashing',
		recipe: {
			name: 'crashing',
			workload: {
				command: ['/bin/sh', '-c', 'echo cannot find my shoes >&2; exit 7'],
				ready: { port: 8787, path: '/', timeout_secs: 60 },
				stop_timeout_secs: 1,
			},
		},
	});
	const failed = await platform.event('the failed start', (e) => e.tenantId === id && e.kind === 'instance.start');
	expect(failed.detail['outcome']).toBe('CRASH_LOOP');
	expect(failed.detail['last_exit']).toMatchObject({ code: 7 });
	expect(JSON.stringify(failed.detail['last_log_lines'])).toContain('cannot find my shoes');
	await platform.client.call('tenant.destroy', { params: { tenant: id } });
});

const FAKES = ['fake-silent', 'fake-stalls', 'fake-garbage', 'fake-oversize', 'fake-liar', 'fake-gone'];

test('guests that send garbage, stall, lie or die cost their own start and nobody else anything', async () => {
	const daemon = platform.pid('daemon');
	const ids = await Promise.all(FAKES.map((name) => deployProbe(platform, { tenant: name })));
	const update = telegram.userSends({ chatId: 3, text: 'meanwhile' });
	expect(await sendUpdate(platform, { tenant, secret, update })).toBe(200);
	await telegram.waitForMessage(({ text }) => text.endsWith(': meanwhile'), AbortSignal.timeout(60_000));
	for (const id of ids) {
		const failed = await platform.event(`the failed start of ${id}`, (e) => e.tenantId === id && e.kind === 'instance.start', {
			timeoutMs: 90_000,
		});
		expect(failed.detail['outcome'], id).toBe('WAKE_FAILED');
		if (id === 'fake-gone') expect(JSON.stringify(failed.detail['last_log_lines'])).toContain('nothing to do');
		const view = await lonely(id);
		expect(
			view.conditions.some(({ type, status }) => type === 'StartFailed' && status),
			id,
		).toBe(true);
	}
	expect(platform.pid('daemon')).toBe(daemon);
	expect(await platform.fetchReady()).toBe(true);
	for (const id of ids) await platform.client.call('tenant.destroy', { params: { tenant: id } });
});

test('what does not exist, is too large or makes no sense is refused by its name', async () => {
	const code = (call: Promise<unknown>): Promise<string> =>
		call.then(
			() => 'accepted',
			(error: unknown) => (isMvmError(error) ? error.code : String(error)),
		);
	const { client } = platform;
	const nobody = parseInstanceId('i-00000000');
	expect(await code(client.call('instance.get', { params: { instance: nobody } }))).toBe('INSTANCE_NOT_FOUND');
	expect(await code(client.call('instance.wake', { params: { instance: nobody }, body: {} }))).toBe('INSTANCE_NOT_FOUND');
	expect(await code(client.call('tenant.get', { params: { tenant: 'nobody' } }))).toBe('TENANT_NOT_FOUND');
	expect(await code(client.call('pool.get', { params: { tenant, pool: 'none' } }))).toBe('POOL_NOT_FOUND');
	expect(await code(client.call('tenant.get', { params: { tenant: '../etc' } }))).toMatch(/INVALID_ID|NOT_FOUND/);
	const post = (path: string, body: string): Promise<number> =>
		fetch(platform.edge + path, { method: 'POST', body, headers: { 'x-telegram-bot-api-secret-token': secret } }).then(
			({ status }) => status,
		);
	expect(await post(`/in/${tenant}/telegram`, `{"update_id":5,"x":"${'x'.repeat(1_100_000)}"}`)).toBe(413);
	expect([401, 404]).toContain(await post(`/in/${tenant}/nothing`, '{}'));
	expect([401, 404]).toContain(await post('/in/nobody/telegram', '{}'));
	expect(new MvmError('INVALID_ID', 'shown').entry.httpStatus).toBe(400);
});
