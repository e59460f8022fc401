// Kill -9 of daemon, hostd, Postgres and the guest agent at named steps while two counters take 200 messages: one resumes warm, one
// boots every time. Every accepted event is counted exactly once, no second sandbox of an instance ever lives, nobody helps.
// MVM_KILL_SEED repeats a run's plan.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type InstanceId, parseTenantId, type TenantId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import type { Update } from '../../examples/stand-ins/telegram-webhook.ts';
import { KillPlan, type Step, type Target } from '../support/kill-plan.ts';
import { StepWatch } from '../support/kill-watch.ts';
import { TestPlatform } from '../support/platform.ts';
import { counterTelegram, deployCounter, sendUpdate } from '../support/platform-deploy.ts';
import { listSandboxes } from '../support/platform-sandboxes.ts';

const ROUNDS = 200;
const EXTRA_ROUNDS = 100;
const KILLS_PER_STEP = 2;
/** Between two kills: sometimes too short for a full recovery, which is on purpose. */
const GAP_MS = 900;
const SAMPLE_MS = 60;
const ROUND_MS = 120_000;
const LIMIT_MS = 420_000;

const seed = Number(process.env['MVM_KILL_SEED'] ?? Date.now() % 1_000_000);
const plan = new KillPlan(seed, KILLS_PER_STEP);

interface Counter {
	readonly tenant: TenantId;
	readonly telegram: TelegramStandIn;
	readonly secret: string;
	instance: InstanceId;
	readonly accepted: Update[];
}

let platform: TestPlatform;
const counters: Counter[] = [];

beforeAll(async () => {
	const parts = [await counterTelegram(), await counterTelegram()];
	platform = await TestPlatform.start({
		upstreams: parts.map(({ telegram }) => telegram.url),
		config: 'swap = { size_mib = 512 }',
	});
	const policies = [
		{ tenant: 'warm', resume: 'warm', sleep: 1 },
		{ tenant: 'cold', resume: 'cold', sleep: 0 },
	];
	for (const [at, { telegram, secret }] of parts.entries()) {
		const { tenant = '', resume, sleep } = policies[at] ?? {};
		await deployCounter(platform, secret, {
			tenant,
			telegram,
			pool: {
				runtime_policy: { min_running_seconds: 0, min_warm_seconds: 0, drain_timeout_seconds: 10, graceful_shutdown_seconds: 5 },
				sleep_policy: { warm_threshold_secs: 0, sleep_threshold_secs: sleep, resume },
			},
		});
		const id = parseTenantId(tenant);
		const { id: instance } = await platform.until('the first instance', async () =>
			(await platform.client.call('instance.list', { query: { tenantId: id } })).items.at(0),
		);
		await platform.untilState(instance, 'sleeping');
		counters.push({ tenant: id, telegram, secret, instance, accepted: [] });
	}
});
afterAll(async () => {
	for (const { telegram } of counters) await telegram.close();
	await platform?.stop();
});

test(`${ROUNDS} rounds under kill -9 (seed ${seed})`, { timeout: LIMIT_MS + 120_000 }, async () => {
	const started = performance.now();
	let eagerly = false;
	const killing: Promise<void>[] = [];
	const watch = new StepWatch(platform, ({ step, instance }) => {
		const next = plan.next(step, performance.now(), { gapMs: GAP_MS, eagerly });
		if (next !== undefined) killing.push(strike(step, next.target, next.delayMs, instance));
	});
	await watch.start();
	for (const { telegram } of counters) void watchReplies(telegram, watch);
	const overlaps = sampleSandboxes();

	const share = Math.ceil(ROUNDS / counters.length);
	await Promise.all(counters.map((counter) => rounds(counter, share, () => false)));
	eagerly = true;
	const isOver = (): boolean => plan.missed.length === 0 || performance.now() - started > LIMIT_MS;
	await Promise.all(counters.map((counter) => rounds(counter, Math.ceil(EXTRA_ROUNDS / counters.length), isOver)));
	await Promise.all(killing);
	await watch.close();

	await platform.ready();
	for (const counter of counters) await settled(counter);
	const twice = overlaps.stop();
	const lines = [`seed ${seed}, ${plan.kills} kills in ${Math.round((performance.now() - started) / 1000)} s:`, ...plan.report()];
	for (const counter of counters) lines.push(await summary(counter));
	process.stdout.write(`${lines.join('\n')}\n`);

	expect(twice, 'two sandboxes of one instance at the same time').toEqual([]);
	for (const counter of counters) {
		const counted = ledger(counter);
		const wanted = counter.accepted.map(({ update_id: id }) => id);
		expect(new Set(counted).size, 'events counted twice').toBe(counted.length);
		expect(new Set(counted), 'accepted events').toEqual(new Set(wanted));
		const { items } = await platform.client.call('ingress.list', {
			params: { tenant: counter.tenant },
			query: { state: 'dead' },
		});
		expect(items, 'dead letters').toEqual([]);
	}
	expect(plan.missed, 'steps that nothing was killed at').toEqual([]);
});

/** Sends one message after the other: sometimes into the running instance, mostly after it went to rest. */
async function rounds(counter: Counter, count: number, isOver: () => boolean): Promise<void> {
	for (let round = 0; round < count && !isOver(); round += 1) {
		const update = counter.telegram.userSends({ chatId: 7, text: `round ${counter.accepted.length}` });
		await platform.until(
			`update ${update.update_id} to be accepted`,
			async () => (await sendUpdate(platform, { tenant: counter.tenant, secret: counter.secret, update })) === 200,
			{ timeoutMs: ROUND_MS, everyMs: 100 },
		);
		counter.accepted.push(update);
		await platform.until(`update ${update.update_id} to be taken`, () => isTaken(counter, update), {
			timeoutMs: ROUND_MS,
			everyMs: 60,
		});
		if (round % 4 === 3) continue;
		await platform
			.until('rest', async () => (await platform.instance(counter.instance).catch(() => undefined))?.state === 'sleeping', {
				timeoutMs: 5_000,
				everyMs: 100,
			})
			.catch(() => undefined); // a kill may have put the next rest far off; the next message does not need it
	}
}

async function isTaken(counter: Counter, update: Update): Promise<boolean> {
	const query = { limit: '20' };
	const answer = await platform.client.call('ingress.list', { params: { tenant: counter.tenant }, query }).catch(() => undefined);
	const message = answer?.items.find(({ eventId }) => eventId === String(update.update_id));
	return message?.state === 'taken' || message?.state === 'settled';
}

/** Everything accepted is contained in a checkpoint and the instance is at rest. */
async function settled(counter: Counter): Promise<void> {
	await platform.until(
		`${counter.tenant} to be settled`,
		async () => {
			const { items } = await platform.client.call('ingress.list', {
				params: { tenant: counter.tenant },
				query: { limit: '9999' },
			});
			const view = await platform.instance(counter.instance);
			return (
				view.state === 'sleeping' && items.length >= counter.accepted.length && items.every(({ state }) => state === 'settled')
			);
		},
		{ timeoutMs: ROUND_MS },
	);
}

async function strike(step: Step, target: Target, delayMs: number, instance: string | undefined): Promise<void> {
	if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
	const pid = target === 'agent' ? agentOf(instance) : platform.pid(target);
	if (pid === undefined) return plan.giveBack(step, target);
	try {
		process.kill(pid, 'SIGKILL');
		plan.record(step, target);
	} catch {
		plan.giveBack(step, target);
	}
}

/** The agent of the instance that the step is about, else of any counter. */
function agentOf(instance: string | undefined): number | undefined {
	const ours = counters.map((counter) => String(counter.instance));
	const live = listSandboxes().filter((sandbox) => ours.includes(sandbox.instance) && sandbox.agent !== undefined);
	return (live.find((sandbox) => sandbox.instance === instance) ?? (instance === undefined ? live[0] : undefined))?.agent;
}

async function watchReplies(telegram: TelegramStandIn, watch: StepWatch): Promise<void> {
	let seen = 0;
	for (;;) {
		const signal = AbortSignal.timeout(LIMIT_MS);
		const reply = await telegram
			.waitForMessage((message) => telegram.sent.indexOf(message) >= seen, signal)
			.catch(() => undefined);
		if (reply === undefined) return;
		seen = telegram.sent.length;
		watch.saw({ step: 'replied', instance: undefined });
	}
}

/** Looks all the time; what it finds twice is written down with the moment. */
function sampleSandboxes(): { stop: () => string[] } {
	const found: string[] = [];
	const ours = new Set(counters.map((counter) => String(counter.instance)));
	const timer = setInterval(() => {
		const perInstance = new Map<string, number[]>();
		for (const { instance, monitor } of listSandboxes()) {
			if (ours.has(instance)) perInstance.set(instance, [...(perInstance.get(instance) ?? []), monitor]);
		}
		for (const [instance, monitors] of perInstance)
			if (monitors.length > 1) found.push(`${new Date().toISOString()} ${instance}: ${monitors.join(' and ')}`);
	}, SAMPLE_MS);
	return {
		stop: () => {
			clearInterval(timer);
			return found;
		},
	};
}

/** What the agent itself wrote down, read from its own disk. */
function ledger(counter: Counter): number[] {
	const slot = slotOf(counter.instance);
	const file = join(platform.folders.data, 'hostd/i', slot, 'disk/data/integrations/counter/state/events.log');
	return readFileSync(file, 'utf8')
		.split('\n')
		.filter(Boolean)
		.map((line) => JSON.parse(line) as { update_id?: number })
		.flatMap(({ update_id: id }) => (id === undefined ? [] : [id]));
}

function slotOf(instance: InstanceId): string {
	const records = join(platform.folders.data, 'hostd/slots');
	for (let slot = 0; slot < 64; slot += 1) {
		try {
			if (readFileSync(join(records, `${slot}.json`), 'utf8').includes(instance)) return String(slot);
		} catch {
			// Not ours: another platform of this host has it.
		}
	}
	throw new Error(`no slot of ${instance}`);
}

async function summary(counter: Counter): Promise<string> {
	const { items } = await platform.client.call('ingress.list', { params: { tenant: counter.tenant }, query: { limit: '9999' } });
	const redelivered = items.filter(({ attempts }) => attempts > 1);
	const view = await platform.instance(counter.instance);
	return `${counter.tenant}: ${counter.accepted.length} accepted, ${redelivered.length} delivered again (${redelivered.reduce((sum, { attempts }) => sum + attempts - 1, 0)} times), incarnation ${view.incarnation}`;
}
