// The agents that are measured: the counter and, with --openclaw, the real one, each deployed from its example with policies that
// leave it alone, so that only the benchmark puts it to rest. Stand-ins take the place of Telegram and the model.
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { parseTenantId } from '@mvm/protocol';
import type { ModelStandIn } from '../examples/stand-ins/model.ts';
import { startTelegram, type TelegramStandIn } from '../examples/stand-ins/telegram.ts';
import { COUNTER, readDeploy } from '../test/support/platform-deploy.ts';
import type { Bench } from './bench.ts';
import type { Subject } from './wake.ts';

const OPENCLAW = resolve(import.meta.dirname, '../examples/openclaw');
const CHAT = 4242;
const REPLY_MS = 120_000;
/** Longer than any run. */
const NEVER_SECS = 86_400;
const AWAKE_MS = 300_000;

let updateId = 5_000_000;

/** Registers no webhook, so the benchmark is the sender. */
export function deployCounter(bench: Bench, telegram: TelegramStandIn): Promise<Subject> {
	const tenant = 'bench-counter';
	telegram.userSends({ chatId: CHAT, text: 'a bot may write only to those who wrote first' });
	return deploy(bench, COUNTER, {
		name: 'counter',
		tenant,
		path: '/count',
		telegram,
		upstreams: { 'telegram-api': telegram.url },
		secrets: { TELEGRAM_BOT_TOKEN: telegram.token, TELEGRAM_WEBHOOK_SECRET: bench.secret },
		send: async () => {
			updateId += 1;
			const answer = await fetch(`${bench.platform.edge}/in/${tenant}/telegram`, {
				method: 'POST',
				headers: { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': bench.secret },
				body: updateText(updateId),
				signal: AbortSignal.timeout(REPLY_MS),
			});
			await answer.arrayBuffer();
			if (!answer.ok) throw new Error(`the edge answered ${answer.status}`);
		},
		rounds: { frozen: 40, hibernated: 40, cold: 12 },
		aims: { firstByteMs: { frozen: 10, hibernated: 100 }, chargedMb: 45 },
	});
}

/** Registers its webhook with the stand-in, which delivers what a person says. */
export function deployOpenClaw(bench: Bench, telegram: TelegramStandIn, model: ModelStandIn, modelKey: string): Promise<Subject> {
	let at = 0;
	return deploy(bench, OPENCLAW, {
		name: 'openclaw',
		tenant: 'acme',
		path: '/startupz',
		telegram,
		upstreams: { 'telegram-api': telegram.url, model: model.url },
		secrets: { TELEGRAM_BOT_TOKEN: telegram.token, TELEGRAM_WEBHOOK_SECRET: bench.secret, MODEL_KEY: modelKey },
		send: async () => {
			at += 1;
			telegram.userSends({ chatId: CHAT, text: `remember note ${at}` });
		},
		rounds: { frozen: 8, hibernated: 8, cold: 4 },
		aims: { firstByteMs: {}, chargedMb: 45 },
	});
}

interface Example extends Pick<Subject, 'name' | 'rounds' | 'aims'> {
	readonly tenant: string;
	readonly path: string;
	readonly telegram: TelegramStandIn;
	readonly send: (telegram: TelegramStandIn) => Promise<void>;
	readonly upstreams: Readonly<Record<string, string>>;
	readonly secrets: Readonly<Record<string, string>>;
}

async function deploy(bench: Bench, folder: string, example: Example): Promise<Subject> {
	const { platform } = bench;
	const { telegram } = example;
	const tenant = parseTenantId(example.tenant);
	const apply = async (resume: 'warm' | 'cold'): Promise<void> => {
		const request = readDeploy(folder, {
			secrets: example.secrets,
			patch: (document) => {
				document.tenant.id = tenant;
				const [pool] = document.pools;
				for (const endpoint of pool?.endpoints ?? []) endpoint['upstream'] = example.upstreams[String(endpoint['name'])];
				Object.assign(pool ?? {}, {
					runtime_policy: { ...(pool?.['runtime_policy'] as object), min_running_seconds: 0, min_warm_seconds: 0 },
					sleep_policy: { warm_threshold_secs: NEVER_SECS, sleep_threshold_secs: NEVER_SECS, resume },
				});
			},
		});
		await platform.deploy(request);
	};
	bench.say(`deploying ${example.name}; its image is built when it is not there`);
	await apply('warm');
	const { id } = await platform.until(
		`${example.name} to be awake`,
		async () => {
			const { items } = await platform.client.call('instance.list', { query: { tenantId: tenant } });
			return items.find((one) => one.state === 'running' && one.operation === null);
		},
		{ timeoutMs: AWAKE_MS },
	);
	const { name, rounds, aims } = example;
	const converse = async (): Promise<void> => {
		const at = telegram.sent.length;
		await example.send(telegram);
		await telegram.waitForMessage((message) => telegram.sent.indexOf(message) >= at, AbortSignal.timeout(REPLY_MS));
	};
	return { name, rounds, aims, instance: id, path: `/t/${tenant}/workers${example.path}`, resume: apply, converse };
}

/** A stand-in of the agent's own. Where it delivers itself, it finds the edge at `edge()`. */
export function benchTelegram(edge: () => string): Promise<TelegramStandIn> {
	const token = `7000000003:${randomBytes(18).toString('hex').slice(0, 35)}`;
	return startTelegram({ port: 0, token, route: (url) => new URL(url.pathname + url.search, edge()) });
}

/** A text message as Telegram delivers it. */
export function updateText(id: number): string {
	const from = { id: CHAT, is_bot: false, first_name: 'Ada', username: `user${CHAT}`, language_code: 'en' };
	const chat = { id: CHAT, type: 'private', first_name: 'Ada', username: `user${CHAT}` };
	return JSON.stringify({
		update_id: id,
		message: { message_id: id, from, chat, date: 1_760_000_000, text: `note number ${id}` },
	});
}
