// What happens when state cannot be saved, and when saved state is damaged: a critical integration that fails keeps its instance
// running, a flipped byte is found before anything runs on it, and what was taken after the fallback is delivered again.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type InstanceId, isMvmError, type MvmError, type TenantId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import { TestPlatform } from '../support/platform.ts';
import { counterTelegram, deployCounter, sendUpdate } from '../support/platform-deploy.ts';
import { type Probe, startProbe } from '../support/platform-probe.ts';

let platform: TestPlatform;
let telegram: TelegramStandIn;
let secret: string;
const INTEGRATION = {
	name: 'counter',
	critical: true,
	checkpoint_cmd: 'sh /opt/app/checkpoint.sh',
	restore_cmd: 'sh /opt/app/restore.sh',
};
const COLD = {
	runtime_policy: { min_running_seconds: 0, min_warm_seconds: 0, drain_timeout_seconds: 10, graceful_shutdown_seconds: 2 },
	sleep_policy: { warm_threshold_secs: 0, sleep_threshold_secs: 0, resume: 'cold' },
};

beforeAll(async () => {
	({ telegram, secret } = await counterTelegram());
	platform = await TestPlatform.start({ upstreams: [telegram.url], config: 'swap = { size_mib = 0 }' });
});
afterAll(async () => {
	await telegram?.close();
	await platform?.stop();
});

test('a critical integration that cannot checkpoint keeps its instance running; force overrides and is recorded', async () => {
	const probe: Probe = await startProbe(platform, {
		tenant: 'critical',
		patch: ({ pools }) => {
			const [pool] = pools;
			if (pool !== undefined) {
				pool['integrations'] = [
					{ name: 'mine', critical: true, checkpoint_cmd: 'test -e /data/ok || { echo no room for it >&2; exit 3; }' },
				];
			}
		},
	});
	const { instance, tenant } = probe;
	const before = await platform.instance(instance);
	const from = platform.events.length;
	const failure = await platform.client.call('instance.sleep', { params: { instance }, body: {} }).then(
		() => undefined,
		(error: unknown) => error as MvmError,
	);
	expect(isMvmError(failure, 'CHECKPOINT_FAILED')).toBe(true);
	expect(failure?.message).toContain('mine');

	const after = await platform.instance(instance);
	expect({ state: after.state, pid: after.pid }).toEqual({ state: 'running', pid: before.pid });
	expect(await probe.run('return 1')).toBe(1);
	const condition = after.conditions.find((c) => c.reason === 'CHECKPOINT_FAILED');
	expect(condition?.status).toBe(true);
	expect(condition?.message).toContain('no room for it');
	await platform.event('the refusal', (e) => e.kind === 'checkpoint.failed' && e.detail['outcome'] === 'refused', { from });

	await platform.client.call('instance.sleep', { params: { instance }, body: { force: true } });
	await platform.event('the override', (e) => e.kind === 'checkpoint.failed' && e.detail['outcome'] === 'overridden', { from });
	const { items } = await platform.client.call('audit.list', { params: { tenant }, query: { limit: '100' } });
	const acts = items.map(({ action, outcome }) => `${action} ${outcome}`);
	expect(acts).toEqual(expect.arrayContaining(['checkpoint.failed refused', 'checkpoint.failed overridden']));
	expect(items.some(({ action, detail }) => action === 'instance.sleep' && detail['forced'] === true)).toBe(true);
	const audit = await platform.client.call('audit.verify', { params: { tenant } });
	expect(audit).toMatchObject({ ok: true });
});

test('a flipped byte is refused, the fallback is named, and what came after it is delivered again', async () => {
	const { tenant, instance } = await sleepingCounter('flipped', [INTEGRATION]);
	await say(tenant, instance, 'one');
	const before = blobs(tenant);
	await say(tenant, instance, 'two');
	const good = (await checkpoints(instance)).at(1);
	const [newest] = await checkpoints(instance);
	flip(blobs(tenant).filter((path) => !before.includes(path)));
	loseData(instance);

	const from = platform.events.length;
	await say(tenant, instance, 'three');
	const restored = await platform.event('the restore', (e) => e.kind === 'data.restored' && e.instanceId === instance, { from });
	expect(restored.detail).toMatchObject({ outcome: 'fallback', checkpoint_id: good, skipped: [newest] });
	const { items } = await platform.client.call('checkpoint.list', { params: { instance } });
	expect(items.find(({ id }) => id === newest)).toMatchObject({ state: 'bad' });

	await platform.until('everything to be settled again', async () => {
		const { items: messages } = await platform.client.call('ingress.list', { params: { tenant } });
		return messages.length === 3 && messages.every(({ state }) => state === 'settled');
	});
	const texts = ledger(instance).map(({ text }) => text);
	expect(texts.toSorted()).toEqual(['one', 'three', 'two']);
});

test('an integration that must not go back leaves its instance down, with NeedsAttention', async () => {
	const { tenant, instance } = await sleepingCounter('never', [{ ...INTEGRATION, rollback: 'never' }]);
	await say(tenant, instance, 'one');
	const before = blobs(tenant);
	await say(tenant, instance, 'two');
	flip(blobs(tenant).filter((path) => !before.includes(path)));
	loseData(instance);

	const update = telegram.userSends({ chatId: 9, text: 'three' });
	expect(await sendUpdate(platform, { tenant, secret, update })).toBe(200);
	const view = await platform.until('NeedsAttention', async () => {
		const seen = await platform.instance(instance);
		return seen.conditions.some(({ type, status }) => type === 'NeedsAttention' && status) ? seen : undefined;
	});
	expect(view.state).not.toBe('running');
	// Retained, not lost and not a dead letter.
	const { items } = await platform.client.call('ingress.list', { params: { tenant } });
	expect(items.find(({ eventId }) => eventId === String(update.update_id))).toMatchObject({ state: 'pending' });
});

async function sleepingCounter(
	name: string,
	integrations: readonly object[],
): Promise<{ tenant: TenantId; instance: InstanceId }> {
	const tenant = await deployCounter(platform, secret, { tenant: name, telegram, pool: { ...COLD, integrations } });
	const { id: instance } = await platform.until('an instance', async () =>
		(await platform.client.call('instance.list', { query: { tenantId: tenant } })).items.at(0),
	);
	await platform.untilState(instance, 'sleeping');
	return { tenant, instance };
}

/** Sends and waits until it is contained in the checkpoint of the next sleep. */
async function say(tenant: TenantId, instance: InstanceId, text: string): Promise<void> {
	const update = telegram.userSends({ chatId: 9, text });
	expect(await sendUpdate(platform, { tenant, secret, update })).toBe(200);
	await platform.until(`${text} to be settled`, async () => {
		const { items } = await platform.client.call('ingress.list', { params: { tenant } });
		return items.find(({ eventId }) => eventId === String(update.update_id))?.state === 'settled';
	});
	await platform.untilState(instance, 'sleeping');
}

/** Newest first. */
async function checkpoints(instance: InstanceId): Promise<string[]> {
	const { items } = await platform.client.call('checkpoint.list', { params: { instance } });
	return items.toSorted((a, b) => (a.frozenAt < b.frozenAt ? 1 : -1)).map(({ id }) => String(id));
}

function blobs(tenant: TenantId): string[] {
	const root = join(platform.folders.data, 'blobs');
	return readdirSync(root, { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile() && join(entry.parentPath, entry.name).includes(`/${tenant}/`))
		.map((entry) => join(entry.parentPath, entry.name));
}

/** One bit of each: of whatever the newest checkpoint does not share with the one before. */
function flip(files: readonly string[]): void {
	expect(files.length).toBeGreaterThan(0);
	for (const file of files) {
		const bytes = readFileSync(file);
		const middle = Math.floor(bytes.length / 2);
		bytes[middle] = (bytes[middle] ?? 0) ^ 1;
		writeFileSync(file, bytes);
	}
}

function slotFolder(instance: InstanceId): string {
	const hostd = join(platform.folders.data, 'hostd');
	const record = readdirSync(join(hostd, 'slots')).find((name) =>
		readFileSync(join(hostd, 'slots', name), 'utf8').includes(instance),
	);
	if (record === undefined) throw new Error(`no slot of ${instance}`);
	return join(hostd, 'i', record.replace('.json', ''));
}

/** As a disk that died: the image is gone, nothing else is. */
function loseData(instance: InstanceId): void {
	const folder = slotFolder(instance);
	execFileSync('umount', [join(folder, 'disk')]);
	rmSync(join(folder, 'disk.ext4'));
	expect(existsSync(join(folder, 'disk/data'))).toBe(false);
}

function ledger(instance: InstanceId): { text: string }[] {
	return readFileSync(join(slotFolder(instance), 'disk/data/integrations/counter/state/events.log'), 'utf8')
		.split('\n')
		.filter(Boolean)
		.map((line) => JSON.parse(line) as { update_id?: number; text: string })
		.filter(({ update_id: id }) => id !== undefined);
}
