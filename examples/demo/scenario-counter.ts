// The same story in seconds, with the tiny counter agent: it numbers messages, so a wrong number would show a lost or a doubled one.
import { randomBytes } from 'node:crypto';
import { parseTenantId } from '@mvm/protocol';
import { startTelegram } from '../stand-ins/telegram.ts';
import { botToken, Stage, type Story } from './stage.ts';
import { size, span } from './timeline.ts';

const SLEEP_MS = 60_000;
const ROUNDS = 3;

export async function counterStory(): Promise<Story> {
	const tenant = parseTenantId('counters');
	const token = botToken(randomBytes(18).toString('hex'));
	const secret = randomBytes(24).toString('base64url');
	const edge = { url: '' };
	const telegram = await startTelegram({ port: 0, token, route: (url) => new URL(url.pathname + url.search, edge.url) });
	return {
		tenant,
		upstreams: [telegram.url],
		close: () => telegram.close(),
		tell: async ({ platform, timeline, signal }) => {
			edge.url = platform.edge;
			const secrets = { 'telegram-token': token, 'telegram-webhook': secret };
			const stage = new Stage({ platform, timeline, signal, tenant, example: 'counter', telegram, secrets });
			await stage.deploy();
			await registerWebhook(telegram.url, { token, secret, url: `https://agents.example.com/in/${tenant}/telegram/` });
			let asleep = await stage.untilAsleep(SLEEP_MS);
			const times: number[] = [];
			for (let round = 1; round <= ROUNDS; round += 1) {
				timeline.title(`message ${round}: the worker is asleep`);
				const reply = await stage.say(`hello number ${round}`);
				if (!reply.text.startsWith(`message ${round}:`)) throw new Error(`the reply should be number ${round}: ${reply.text}`);
				times.push(reply.ms);
				stage.showMemory('awake', await stage.watch.look());
				asleep = await stage.untilAsleep(SLEEP_MS);
			}
			stage.expectAnswers(ROUNDS);
			return [
				`${ROUNDS} messages, each counted once by an agent that slept before each`,
				`answers after ${times.map(span).join(', ')}`,
				stage.wakes(ROUNDS),
				asleep.memory ? `asleep it is charged ${size(asleep.memory.chargedBytes)}` : 'asleep it holds no memory',
			].join('; ');
		},
	};
}

/** The counter does not register itself, as a person would do it once for a bot. */
async function registerWebhook(api: string, hook: { token: string; secret: string; url: string }): Promise<void> {
	const answer = await fetch(`${api}/bot${hook.token}/setWebhook`, {
		method: 'POST',
		headers: { 'content-type': 'application/json' },
		body: JSON.stringify({ url: hook.url, secret_token: hook.secret }),
	});
	if (!answer.ok) throw new Error(`setWebhook: ${await answer.text()}`);
}
