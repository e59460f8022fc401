// The main story with a real OpenClaw: its worker boots once, falls asleep by policy, a Telegram message wakes it, it answers and falls
// asleep again; a second message asks for what the first one said. Nothing here calls sleep or wake.
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type InstanceView, parseTenantId } from '@mvm/protocol';
import { type ModelStandIn, startModel } from '../stand-ins/model.ts';
import { startTelegram, type TelegramStandIn } from '../stand-ins/telegram.ts';
import type { Platform } from './platform.ts';
import { size, span, type Timeline } from './timeline.ts';
import { Watch } from './watch.ts';

const EXAMPLE = resolve(import.meta.dirname, '../openclaw');
export const TENANT = parseTenantId('acme');
const CHAT = 4242;
const FIRST_SLEEP_MS = 240_000;
const SLEEP_MS = 90_000;
const REPLY_MS = 120_000;

export interface Story {
	readonly upstreams: readonly string[];
	/** Returns the summary line. */
	tell(input: { platform: Platform; timeline: Timeline; signal: AbortSignal }): Promise<string>;
	close(): Promise<void>;
}

/** Starts the stand-ins; `tell` needs a platform that may reach them. */
export async function openclawStory(): Promise<Story> {
	const key = `sk-demo-${randomBytes(12).toString('hex')}`;
	const token = `7000000001:${randomBytes(18).toString('hex').slice(0, 35)}`;
	let edge: string | null = null;
	const model = await startModel({ port: 0, key });
	const telegram = await startTelegram({
		port: 0,
		token,
		// Stands for DNS and the TLS terminator in front of the edge.
		route: (url) => new URL(url.pathname + url.search, edge ?? url),
	});
	return {
		upstreams: [model.url, telegram.url],
		close: async () => void (await Promise.all([model.close(), telegram.close()])),
		tell: async ({ platform, timeline, signal }) => {
			edge = platform.edge;
			const file = await prepareExample(platform.folders.work, { key, token, model: model.url, telegram: telegram.url });
			const watch = new Watch({ platform, timeline, tenant: TENANT, signal });
			await timeline.waiting('deploying examples/openclaw (the first time builds its image)', (detail) =>
				platform.run(['deploy', file], { signal, progress: detail }),
			);
			timeline.event('mvm', 'deployed examples/openclaw: one worker, wanted asleep');
			return new Acts({ watch, timeline, model, telegram, signal }).play();
		},
	};
}

/** The example with this run's addresses and secrets; everything else, the image recipe included, is as in the repository. */
async function prepareExample(
	work: string,
	values: { key: string; token: string; model: string; telegram: string },
): Promise<string> {
	const folder = join(work, 'openclaw');
	await rm(folder, { recursive: true, force: true });
	await cp(EXAMPLE, folder, { recursive: true, filter: (source) => !source.endsWith('.lock') || source.includes('image') });
	await mkdir(join(folder, 'secrets'), { recursive: true });
	for (const [name, value] of [
		['telegram-token', values.token],
		['telegram-webhook', randomBytes(24).toString('base64url')],
		['model-key', values.key],
	] as const)
		await writeFile(join(folder, 'secrets', name), `${value}\n`, { mode: 0o600 });
	const file = join(folder, 'deploy.toml');
	const text = (await readFile(file, 'utf8'))
		.replace('"http://127.0.0.1:4010"', JSON.stringify(values.model))
		.replace('"http://127.0.0.1:4020"', JSON.stringify(values.telegram));
	await writeFile(file, text);
	return file;
}

interface Stage {
	readonly watch: Watch;
	readonly timeline: Timeline;
	readonly model: ModelStandIn;
	readonly telegram: TelegramStandIn;
	readonly signal: AbortSignal;
}

class Acts {
	readonly #stage: Stage;
	constructor(stage: Stage) {
		this.#stage = stage;
	}

	async play(): Promise<string> {
		const { watch, timeline, model, telegram } = this.#stage;
		await watch.until('the worker boots once to register its webhook', () => telegram.webhookUrl() !== null, FIRST_SLEEP_MS);
		timeline.event('agent', `registered its webhook: ${telegram.webhookUrl()}`);
		const before = await watch.look();
		this.#memory('awake', before);
		let asleep = await this.#untilAsleep(FIRST_SLEEP_MS);

		timeline.title('first message: the worker is asleep');
		const nonce = `violet-${randomBytes(4).toString('hex')}`;
		const first = await this.#say(`Please remember ${nonce}`);
		if (!first.text.includes(nonce)) throw new Error(`the first reply does not repeat the nonce: ${first.text}`);
		this.#memory('awake', await watch.look());
		asleep = await this.#untilAsleep(SLEEP_MS);

		timeline.title('second message: it slept in between');
		const seen = model.requests.length;
		const second = await this.#say('What did I ask you to remember?');
		const turn = model.requests.slice(seen).find(({ body }) => body.includes(nonce));
		if (turn === undefined) throw new Error('the model request of the second turn does not contain the nonce of the first');
		if (!second.text.includes(nonce)) throw new Error(`the second reply does not know the nonce: ${second.text}`);
		timeline.event('demo', `the second turn's model request contains ${nonce}, which only the first message said`);
		const after = await watch.look();
		this.#memory('awake', after);
		if (after !== null && before !== null && after.pid === before.pid && watch.wakes.at(-1)?.outcome === 'resumed')
			timeline.event('demo', `the same process all the time: pid ${after.pid}`);
		asleep = await this.#untilAsleep(SLEEP_MS);
		const wakes = watch.wakes.slice(-2);
		return [
			`2 messages answered by a worker that slept before each`,
			`replies after ${span(first.ms)} and ${span(second.ms)}`,
			wakes.length > 0 ? `woke in ${wakes.map((wake) => `${span(wake.totalMs)} (${wake.outcome})`).join(' and ')}` : '',
			asleep.memory
				? `asleep it is charged ${size(asleep.memory.chargedBytes)} instead of ${size(before?.memory?.chargedBytes ?? 0)}`
				: '',
		]
			.filter(Boolean)
			.join('; ');
	}

	/** A person writes; resolves with the agent's reply and how long it took. */
	async #say(text: string): Promise<{ text: string; ms: number }> {
		const { telegram, model, timeline, signal } = this.#stage;
		const limit = AbortSignal.any([signal, AbortSignal.timeout(REPLY_MS)]);
		const [sent, asked] = [telegram.sent.length, model.requests.length];
		const started = performance.now();
		const update = telegram.userSends({ chatId: CHAT, text });
		timeline.event('you', text);
		return timeline.waiting('the reply', async () => {
			const attempt = await telegram.waitForAttempt(
				({ updateId, status }) => updateId === update.update_id && status < 300 && status > 0,
				limit,
			);
			timeline.event('edge', `accepted: on disk, ${attempt.status} after ${span(attempt.ms)}`);
			const request = await model.waitForRequest((one) => model.requests.indexOf(one) >= asked, limit);
			const trace = request.headers['traceparent']?.split('-')[1];
			timeline.event('model', `asked by tenant ${request.headers['x-tenant-id'] ?? '(not said)'}, trace ${trace ?? '(none)'}`);
			if (request.headers['x-tenant-id'] !== TENANT) throw new Error('the model request does not carry the tenant');
			const reply = await telegram.waitForMessage((message) => telegram.sent.indexOf(message) >= sent, limit);
			const ms = performance.now() - started;
			timeline.event('agent', `${reply.text}  (${span(ms)} after the message)`);
			return { text: reply.text, ms };
		});
	}

	async #untilAsleep(limitMs: number): Promise<InstanceView> {
		const { watch, timeline } = this.#stage;
		const asleep = await watch.until('idle, then asleep by policy', ({ state }) => state === 'sleeping', limitMs);
		// Paging out goes on for a moment after the state has changed.
		await delay(500);
		const settled = (await watch.look()) ?? asleep;
		this.#memory('asleep', settled);
		if (settled.checkpointId) timeline.more(`checkpoint ${settled.checkpointId} verified`);
		return settled;
	}

	#memory(when: string, instance: InstanceView | null): void {
		const memory = instance?.memory;
		const facts = memory
			? `resident ${size(memory.residentBytes)}, charged ${size(memory.chargedBytes)}, in swap ${size(memory.swapBytes)}`
			: 'memory not known';
		this.#stage.timeline.event('mvm', `${when}: pid ${instance?.pid ?? '-'}, ${facts}`);
	}
}
