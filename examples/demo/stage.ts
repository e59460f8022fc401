// What every story of the demo does: prepare an example with this run's addresses and secrets, send a message as a person would, wait
// for the reply, wait for sleep, show memory. Nothing here calls sleep or wake.
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { InstanceView, TenantId } from '@mvm/protocol';
import type { ModelStandIn } from '../stand-ins/model.ts';
import type { TelegramStandIn } from '../stand-ins/telegram.ts';
import type { Platform } from './platform.ts';
import { size, span, type Timeline } from './timeline.ts';
import { Watch } from './watch.ts';

const EXAMPLES = resolve(import.meta.dirname, '..');
const CHAT = 4242;
const REPLY_MS = 120_000;
const DEPLOY_MS = 600_000;
const SETTLE_MS = 500;

/** One agent's part of the demo. */
export interface Story {
	readonly tenant: TenantId;
	/** What the platform must be allowed to reach on loopback. */
	readonly upstreams: readonly string[];
	/** Returns the summary line; rejects with the reason when something is not as promised. */
	tell(input: { platform: Platform; timeline: Timeline; signal: AbortSignal }): Promise<string>;
	close(): Promise<void>;
}
export interface StageInput {
	readonly platform: Platform;
	readonly timeline: Timeline;
	readonly signal: AbortSignal;
	readonly tenant: TenantId;
	/** Folder name under examples/. */
	readonly example: string;
	readonly telegram: TelegramStandIn;
	readonly model?: ModelStandIn;
	/** File name in secrets/ → value. */
	readonly secrets: Readonly<Record<string, string>>;
}

export class Stage {
	readonly watch: Watch;
	readonly #input: StageInput;

	constructor(input: StageInput) {
		this.#input = input;
		this.watch = new Watch(input);
	}

	/** Deploys a copy of the example; everything but addresses and secrets is as in the repository. */
	async deploy(): Promise<void> {
		const { platform, timeline, example, signal, telegram, model, secrets } = this.#input;
		const folder = join(platform.work, example);
		await rm(folder, { recursive: true, force: true });
		await cp(join(EXAMPLES, example), folder, { recursive: true });
		await mkdir(join(folder, 'secrets'), { recursive: true });
		for (const [name, value] of Object.entries(secrets))
			await writeFile(join(folder, 'secrets', name), `${value}\n`, { mode: 0o600 });
		const file = join(folder, 'deploy.toml');
		const text = (await readFile(file, 'utf8'))
			.replace('"http://127.0.0.1:4010"', JSON.stringify(model?.url ?? ''))
			.replace('"http://127.0.0.1:4020"', JSON.stringify(telegram.url));
		await writeFile(file, text);
		const limit = AbortSignal.any([signal, AbortSignal.timeout(DEPLOY_MS)]);
		const started = performance.now();
		await timeline.waiting(`deploying examples/${example}: the first time builds its image`, (detail) =>
			platform.run(['deploy', file], { signal: limit, progress: detail }),
		);
		timeline.event('mvm', `deployed examples/${example} in ${span(performance.now() - started)}: one worker, wanted asleep`);
	}

	/** A person writes; resolves with the agent's reply and how long it took. */
	async say(text: string): Promise<{ text: string; ms: number }> {
		const { telegram, model, timeline, tenant, signal } = this.#input;
		const limit = AbortSignal.any([signal, AbortSignal.timeout(REPLY_MS)]);
		const [sent, asked] = [telegram.sent.length, model?.requests.length ?? 0];
		const started = performance.now();
		timeline.event('you', text);
		const update = telegram.userSends({ chatId: CHAT, text });
		return timeline.waiting('the reply', async () => {
			const accepted = telegram.waitForAttempt(
				({ updateId, status }) => updateId === update.update_id && status >= 200 && status < 300,
				limit,
			);
			const attempt = await this.#orProblem(accepted);
			timeline.event('edge', `accepted: on disk, ${attempt.status} after ${span(attempt.ms)}`);
			if (model !== undefined) {
				const request = await this.#orProblem(model.waitForRequest((one) => model.requests.indexOf(one) >= asked, limit));
				const { 'x-tenant-id': who = '(nobody)', traceparent = '' } = request.headers;
				const trace = traceparent.split('-')[1] ?? '(none)';
				const kept = await this.watch.message(String(update.update_id));
				timeline.event('model', `asked for tenant ${who}, trace ${trace}${trace === kept?.traceId ? ", the message's own" : ''}`);
				if (who !== tenant) throw new Error(`the model request says tenant ${who} instead of ${tenant}`);
				if (trace !== kept?.traceId)
					throw new Error(`the model request has trace ${trace}, the message ${kept?.traceId ?? 'none'}`);
			}
			const reply = await this.#orProblem(telegram.waitForMessage((message) => telegram.sent.indexOf(message) >= sent, limit));
			const ms = performance.now() - started;
			timeline.event('agent', `${reply.text}   (${span(ms)} after the message)`);
			return { text: reply.text, ms };
		});
	}

	/** Waits for policy to put the worker to sleep and shows what is left of it in memory. */
	async untilAsleep(limitMs: number): Promise<InstanceView> {
		const asleep = await this.watch.until('idle, then asleep by policy', ({ state }) => state === 'sleeping', limitMs);
		await delay(SETTLE_MS); // the last pages go out for a moment after the state has changed
		const settled = (await this.watch.look()) ?? asleep;
		this.showMemory('asleep', settled);
		return settled;
	}

	/** Every message got exactly one answer: a repeated one would mean that the agent never learned it was sent. */
	expectAnswers(count: number): void {
		const { sent } = this.#input.telegram;
		if (sent.length !== count)
			throw new Error(`${count} messages got ${sent.length} answers: ${sent.map(({ text }) => text).join(' | ')}`);
	}

	showMemory(when: string, instance: InstanceView | null): void {
		const memory = instance?.memory;
		const facts = memory
			? `resident ${size(memory.residentBytes)}, charged ${size(memory.chargedBytes)}, in swap ${size(memory.swapBytes)}`
			: 'no memory held';
		this.#input.timeline.event('mvm', `${when}: pid ${instance?.pid ?? '-'}, ${facts}`);
	}

	/** What the summary says of the last `count` wakes. */
	wakes(count: number): string {
		const wakes = this.watch.wakes.slice(-count).map(({ totalMs, outcome }) => `${span(totalMs)} (${outcome})`);
		return wakes.length === 0 ? 'woke' : `woke in ${wakes.join(' and ')}`;
	}

	/** A platform that ended will not answer: say so at once instead of after the whole wait. */
	async #orProblem<T>(work: Promise<T>): Promise<T> {
		const { platform } = this.#input;
		const stop = new AbortController();
		const look = async (): Promise<never> => {
			for (;;) {
				await delay(1_000, undefined, { signal: stop.signal });
				const problem = platform.problem();
				if (problem !== null) throw new Error(problem);
			}
		};
		try {
			return await Promise.race([work, look()]);
		} catch (error) {
			if (error instanceof Error && error.name === 'TimeoutError')
				throw new Error(`no reply within ${REPLY_MS / 1000} s; the message is kept: mvm ingress list`);
			throw error;
		} finally {
			stop.abort();
		}
	}
}

/** A token as BotFather hands out. */
export function botToken(random: string): string {
	return `7000000001:${random.padEnd(35, 'x').slice(0, 35)}`;
}
