// A strict stand-in for Telegram's Bot API server: refuses what the real one refuses, delivers updates to the registered webhook in
// order with retries and back-off (telegram-webhook.ts), and remembers what the bot sent. Demo, tests and benches run it on loopback.
import type { IncomingMessage } from 'node:http';
import { type Listening, listen, parseObject, Recorded, sendJson } from './http.ts';
import { type Attempt, type Update, Webhook } from './telegram-webhook.ts';

/** A message the bot sent or last edited. */
export interface BotMessage {
	readonly messageId: number;
	readonly chatId: number;
	readonly text: string;
	readonly at: number;
}
export interface TelegramStandIn extends Listening {
	readonly token: string;
	/** Method names in the order of their calls, refused ones included. */
	readonly calls: readonly { readonly method: string; readonly status: number; readonly at: number }[];
	readonly sent: readonly BotMessage[];
	/** Every attempt to deliver an update to the webhook. */
	readonly attempts: readonly Attempt[];
	/** A person writes to the bot; returns the update as it will be delivered. */
	userSends(input: { chatId: number; text: string }): Update;
	/** Delivers an update again, as Telegram does when an answer got lost. */
	redeliver(update: Update): void;
	waitForMessage(matches: (message: BotMessage) => boolean, signal: AbortSignal): Promise<BotMessage>;
	waitForAttempt(matches: (attempt: Attempt) => boolean, signal: AbortSignal): Promise<Attempt>;
	/** The registered webhook's URL, null while there is none. */
	webhookUrl(): string | null;
}
export interface TelegramOptions {
	readonly port: number;
	/** `<digits>:<35 characters>` as BotFather hands out. */
	readonly token: string;
	/** Where a public name leads: the stand-in's DNS and TLS terminator. Default: the URL itself. */
	readonly route?: (webhook: URL) => URL;
	/** First retry delay; doubles up to 32 times this. Default 500. */
	readonly retryMs?: number;
}
interface Context {
	readonly webhook: Webhook;
	readonly sent: Recorded<BotMessage>;
	readonly chats: Set<number>;
	readonly polling: { abort: AbortController | null };
}
type Params = Readonly<Record<string, unknown>>;
type Method = (context: Context, params: Params) => unknown;

/** A refusal with Telegram's own code and words. */
class Refused extends Error {
	readonly code: number;
	constructor(code: number, description: string) {
		super(description);
		this.code = code;
	}
}

const BOT = { id: 7_000_000_001, is_bot: true, first_name: 'Demo', username: 'mvm_demo_bot' };
const bad = (what: string): Refused => new Refused(400, `Bad Request: ${what}`);

/** Starts the server; `<url>` is what a client calls its API root. */
export async function startTelegram(options: TelegramOptions): Promise<TelegramStandIn> {
	if (!/^\d{6,}:[A-Za-z0-9_-]{35}$/.test(options.token)) throw new Error('a bot token looks like 123456:<35 characters>');
	const calls: { method: string; status: number; at: number }[] = [];
	const webhook = new Webhook({ route: options.route ?? ((url) => url), retryMs: options.retryMs ?? 500 });
	const context: Context = { webhook, sent: new Recorded(), chats: new Set(), polling: { abort: null } };
	let nextUpdate = 9_000_001;
	let nextMessage = 1;
	const listening = await listen(options.port, async (request, body, response) => {
		const match = /^\/bot([^/]+)\/([A-Za-z]+)$/.exec(new URL(request.url ?? '/', 'http://telegram').pathname);
		const name = match?.[2] ?? '';
		const reply = (status: number, value: object): void => {
			calls.push({ method: name, status, at: Date.now() });
			sendJson(response, status, value);
		};
		try {
			if (match === null) throw new Refused(404, 'Not Found');
			if (match[1] !== options.token) throw new Refused(401, 'Unauthorized');
			const method = methods.get(name.toLowerCase());
			if (method === undefined) throw new Refused(404, 'Not Found');
			reply(200, { ok: true, result: await method(context, readParams(request, body)) });
		} catch (error) {
			if (!(error instanceof Refused)) throw error;
			reply(error.code, { ok: false, error_code: error.code, description: error.message });
		}
	});
	return {
		url: listening.url,
		token: options.token,
		calls,
		sent: context.sent.all,
		attempts: webhook.attempts.all,
		userSends: ({ chatId, text }) => {
			context.chats.add(chatId);
			const from = { id: chatId, is_bot: false, first_name: 'Ada', username: `user${chatId}`, language_code: 'en' };
			const chat = { id: chatId, type: 'private', first_name: 'Ada', username: `user${chatId}` };
			const message = { message_id: nextMessage++, from, chat, date: Math.floor(Date.now() / 1000), text };
			const update: Update = { update_id: nextUpdate++, message };
			webhook.push(update);
			return update;
		},
		redeliver: (update) => webhook.push(update),
		waitForMessage: (matches, signal) => context.sent.wait(matches, signal),
		waitForAttempt: (matches, signal) => webhook.attempts.wait(matches, signal),
		webhookUrl: () => webhook.registration?.url.href ?? null,
		close: async () => {
			context.polling.abort?.abort();
			await Promise.all([listening.close(), webhook.close()]);
		},
	};
}

const methods = new Map<string, Method>([
	['getme', () => ({ ...BOT, can_join_groups: true, can_read_all_group_messages: false, supports_inline_queries: false })],
	['setwebhook', setWebhook],
	['deletewebhook', deleteWebhook],
	['getwebhookinfo', ({ webhook }) => webhook.info()],
	['getupdates', getUpdates],
	['setmycommands', setMyCommands],
	['deletemycommands', () => true],
	['sendmessage', sendMessage],
	['editmessagetext', editMessageText],
	['deletemessage', deleteMessage],
	['sendchataction', sendChatAction],
	['setmessagereaction', (context, params) => chatOf(context, params) !== 0],
]);

function setWebhook({ webhook, polling }: Context, params: Params): boolean {
	const text = String(params['url'] ?? '');
	if (text === '') {
		webhook.unset(params['drop_pending_updates'] === true);
		return true;
	}
	let url: URL;
	try {
		url = new URL(text);
	} catch {
		throw bad('bad webhook: URL host is empty');
	}
	if (url.protocol !== 'https:') throw bad('bad webhook: An HTTPS URL must be provided for webhook');
	if (!['', '80', '88', '443', '8443'].includes(url.port))
		throw bad('bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443');
	const secret = String(params['secret_token'] ?? '');
	if (secret !== '' && !/^[A-Za-z0-9_-]{1,256}$/.test(secret)) throw bad('secret token contains unallowed characters');
	const allowed = listOf(params['allowed_updates'], 'allowed_updates');
	if (allowed?.some((kind) => typeof kind !== 'string')) throw bad("can't parse allowed_updates");
	polling.abort?.abort();
	webhook.set({ url, secret, allowed: (allowed ?? []) as string[], dropPending: params['drop_pending_updates'] === true });
	return true;
}

function deleteWebhook({ webhook }: Context, params: Params): boolean {
	webhook.unset(params['drop_pending_updates'] === true);
	return true;
}

async function getUpdates({ webhook, polling }: Context, params: Params): Promise<Update[]> {
	if (webhook.registration !== null)
		throw new Refused(
			409,
			"Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
		);
	polling.abort?.abort();
	const mine = new AbortController();
	polling.abort = mine;
	const timeoutMs = Math.min(Number(params['timeout'] ?? 0), 50) * 1000;
	const updates = await webhook.poll({ offset: Number(params['offset'] ?? 0), timeoutMs, signal: mine.signal });
	if (mine.signal.aborted)
		throw new Refused(409, 'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running');
	return updates.slice(0, Math.min(Math.max(Number(params['limit'] ?? 100), 1), 100));
}

function setMyCommands(_context: Context, params: Params): boolean {
	const commands = listOf(params['commands'], 'commands');
	if (commands === null) throw bad('parameter "commands" is required');
	if (commands.length > 100) throw bad('BOT_COMMANDS_TOO_MUCH');
	for (const item of commands) {
		const { command, description } = (item ?? {}) as { command?: unknown; description?: unknown };
		if (typeof command !== 'string' || !/^[a-z0-9_]{1,32}$/.test(command)) throw bad('BOT_COMMAND_INVALID');
		if (typeof description !== 'string' || description.length < 1 || description.length > 256)
			throw bad('BOT_COMMAND_DESCRIPTION_INVALID');
	}
	return true;
}

function sendMessage(context: Context, params: Params): object {
	const chatId = chatOf(context, params);
	const text = textOf(params);
	const message: BotMessage = { messageId: 100_000 + context.sent.all.length, chatId, text, at: Date.now() };
	context.sent.add(message);
	return rendered(message);
}

function editMessageText(context: Context, params: Params): object {
	const chatId = chatOf(context, params);
	const text = textOf(params);
	const messageId = Number(params['message_id']);
	const old = context.sent.all.findLast((sent) => sent.messageId === messageId && sent.chatId === chatId);
	if (old === undefined) throw bad('message to edit not found');
	if (old.text === text)
		throw bad('message is not modified: specified new message content and reply markup are exactly the same');
	const message: BotMessage = { messageId, chatId, text, at: Date.now() };
	context.sent.add(message);
	return rendered(message);
}

function deleteMessage(context: Context, params: Params): boolean {
	const chatId = chatOf(context, params);
	if (!context.sent.all.some((sent) => sent.messageId === Number(params['message_id']) && sent.chatId === chatId))
		throw bad('message to delete not found');
	return true;
}

const ACTIONS = new Set('typing upload_photo record_video upload_video record_voice upload_voice upload_document'.split(' '));
function sendChatAction(context: Context, params: Params): boolean {
	chatOf(context, params);
	if (!ACTIONS.has(String(params['action']))) throw bad('wrong parameter action in request');
	return true;
}

/** The chat must have written to the bot first, as with real private chats. */
function chatOf({ chats }: Context, params: Params): number {
	const given = params['chat_id'];
	if (given === undefined || given === '') throw bad('chat_id is empty');
	const chatId = Number(given);
	if (!Number.isSafeInteger(chatId) || !chats.has(chatId)) throw bad('chat not found');
	return chatId;
}

function textOf(params: Params): string {
	const text = params['text'];
	if (typeof text !== 'string' || text.trim() === '') throw bad('message text is empty');
	if (text.length > 4096) throw bad('message is too long');
	return text;
}

function rendered(message: BotMessage): object {
	const chat = { id: message.chatId, type: 'private', first_name: 'Ada' };
	return { message_id: message.messageId, from: BOT, chat, date: Math.floor(message.at / 1000), text: message.text };
}

/** Lists come as JSON arrays, or as JSON text inside a form. */
function listOf(value: unknown, name: string): unknown[] | null {
	if (value === undefined || value === null || value === '') return null;
	let list = value;
	if (typeof value === 'string') {
		try {
			list = JSON.parse(value);
		} catch {
			throw bad(`can't parse ${name} JSON object`);
		}
	}
	if (!Array.isArray(list)) throw bad(`can't parse ${name}: expected an Array`);
	return list as unknown[];
}

function readParams(request: IncomingMessage, body: string): Params {
	const query = Object.fromEntries(new URL(request.url ?? '/', 'http://telegram').searchParams);
	if (body === '') return query;
	const type = request.headers['content-type'] ?? '';
	if (type.startsWith('application/json')) {
		const value = parseObject(body);
		if (value === null) throw bad('unsupported parameters: the body must be a JSON object');
		return { ...query, ...value };
	}
	if (type.startsWith('application/x-www-form-urlencoded')) return { ...query, ...Object.fromEntries(new URLSearchParams(body)) };
	throw bad('unsupported content type');
}
