// The main story with a real OpenClaw: its worker boots once, falls asleep by policy, a Telegram message wakes it, it answers and falls
// asleep again; a second message asks for what only the first one said.
import { randomBytes } from 'node:crypto';
import { parseTenantId } from '@mvm/protocol';
import { startModel } from '../stand-ins/model.ts';
import { startTelegram } from '../stand-ins/telegram.ts';
import { botToken, Stage, type Story } from './stage.ts';
import { size, span } from './timeline.ts';

const FIRST_SLEEP_MS = 240_000;
const SLEEP_MS = 90_000;

/** Starts the stand-ins; `tell` needs a platform that may reach them. */
export async function openclawStory(): Promise<Story> {
	const tenant = parseTenantId('acme');
	const key = `sk-demo-${randomBytes(12).toString('hex')}`;
	const token = botToken(randomBytes(18).toString('hex'));
	const edge = { url: '' };
	const model = await startModel({ port: 0, key });
	// `route` stands for DNS and the TLS terminator in front of the edge.
	const telegram = await startTelegram({ port: 0, token, route: (url) => new URL(url.pathname + url.search, edge.url) });
	const secrets = {
		'telegram-token': token,
		'telegram-webhook': randomBytes(24).toString('base64url'),
		'model-key': key,
	};
	return {
		tenant,
		upstreams: [model.url, telegram.url],
		close: async () => void (await Promise.all([model.close(), telegram.close()])),
		tell: async ({ platform, timeline, signal }) => {
			edge.url = platform.edge;
			const stage = new Stage({ platform, timeline, signal, tenant, example: 'openclaw', telegram, model, secrets });
			const { watch } = stage;
			await stage.deploy();
			await watch.until('the worker boots once to register its webhook', () => telegram.webhookUrl() !== null, FIRST_SLEEP_MS);
			timeline.event('agent', `registered its webhook: ${telegram.webhookUrl()}`);
			const before = await watch.look();
			stage.showMemory('awake', before);
			await stage.untilAsleep(FIRST_SLEEP_MS);

			timeline.title('first message: the worker is asleep');
			const nonce = `violet-${randomBytes(4).toString('hex')}`;
			const first = await stage.say(`Please remember ${nonce}`);
			if (!first.text.includes(nonce)) throw new Error(`the first reply does not repeat the nonce: ${first.text}`);
			stage.showMemory('awake', await watch.look());
			const asleep = await stage.untilAsleep(SLEEP_MS);

			timeline.title('second message: it slept in between');
			const seen = model.requests.length;
			const second = await stage.say('What did I ask you to remember?');
			if (!model.requests.slice(seen).some(({ body }) => body.includes(nonce)))
				throw new Error("the second turn's model request does not contain the nonce of the first");
			if (!second.text.includes(nonce)) throw new Error(`the second reply does not know the nonce: ${second.text}`);
			timeline.event('demo', `the second turn's model request contains ${nonce}, which only the first message said`);
			stage.expectAnswers(2);
			const after = await watch.look();
			stage.showMemory('awake', after);
			if (after !== null && after.pid !== null && after.pid === before?.pid)
				timeline.event('demo', `the same processes all the time: pid ${after.pid} was frozen and paged out, not stopped`);
			const [was, is] = [before?.memory?.chargedBytes, asleep.memory?.chargedBytes];
			return [
				'2 messages, a real OpenClaw that slept before each and remembered',
				`answers after ${span(first.ms)} and ${span(second.ms)}`,
				stage.wakes(2),
				is === undefined
					? 'asleep it holds no memory'
					: `asleep it is charged ${size(is)}${was === undefined ? '' : ` instead of ${size(was)}`}`,
			].join('; ');
		},
	};
}
