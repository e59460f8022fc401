// The stand-ins are strict: what the real Bot API or model server refuses, they refuse, or the demo proves nothing.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ModelStandIn, startModel } from '../../examples/stand-ins/model.ts';
import { startTelegram, type TelegramStandIn } from '../../examples/stand-ins/telegram.ts';

const TOKEN = `123456:${'A'.repeat(35)}`;
const soon = (): AbortSignal => AbortSignal.timeout(5_000);

describe('the Telegram stand-in', () => {
	let telegram: TelegramStandIn;
	let receiver: Server;
	let received: { secret: unknown; body: { update_id: number; message: { text: string } } }[];
	let answers: number[];
	beforeEach(async () => {
		received = [];
		answers = [];
		receiver = createServer(async (request, response) => {
			let body = '';
			for await (const chunk of request) body += String(chunk);
			received.push({ secret: request.headers['x-telegram-bot-api-secret-token'], body: JSON.parse(body) as never });
			response.writeHead(answers.shift() ?? 200).end();
		});
		await new Promise<void>((done) => receiver.listen(0, '127.0.0.1', done));
		const { port } = receiver.address() as AddressInfo;
		telegram = await startTelegram({
			port: 0,
			token: TOKEN,
			retryMs: 10,
			route: (url) => new URL(url.pathname, `http://127.0.0.1:${port}`),
		});
	});
	afterEach(async () => {
		await telegram.close();
		receiver.closeAllConnections();
		await new Promise((done) => receiver.close(done));
	});
	async function call(
		method: string,
		params: object = {},
		token = TOKEN,
	): Promise<{ status: number; description: string; result: unknown }> {
		const response = await fetch(`${telegram.url}/bot${token}/${method}`, {
			method: 'POST',
			headers: { 'content-type': 'application/json' },
			body: JSON.stringify(params),
		});
		const body = (await response.json()) as { description?: string; result?: unknown };
		return { status: response.status, description: body.description ?? '', result: body.result };
	}
	const hook = { url: 'https://agents.example.com/in/acme/telegram/', secret_token: 'a-secret' };

	test('knows its bot and refuses a wrong token and unknown methods', async () => {
		expect(await call('getMe')).toMatchObject({ status: 200, result: { is_bot: true } });
		expect(await call('getMe', {}, 'wrong')).toMatchObject({ status: 401, description: 'Unauthorized' });
		expect(await call('flyToTheMoon')).toMatchObject({ status: 404 });
	});

	test.each([
		['setWebhook', { url: 'http://agents.example.com/' }, 'HTTPS'],
		['setWebhook', { url: 'https://agents.example.com:7070/' }, 'ports'],
		['setWebhook', { ...hook, secret_token: 'has spaces' }, 'secret token'],
		['setWebhook', { ...hook, allowed_updates: 'message' }, 'allowed_updates'],
		['sendMessage', { text: 'hi' }, 'chat_id is empty'],
		['sendMessage', { chat_id: 5, text: 'hi' }, 'chat not found'],
		['setMyCommands', { commands: [{ command: 'Bad Name', description: 'x' }] }, 'BOT_COMMAND_INVALID'],
		['sendChatAction', { chat_id: 7, action: 'dancing' }, 'wrong parameter action'],
	])('refuses %s %j', async (method, params, words) => {
		telegram.userSends({ chatId: 7, text: 'so that the chat exists' });
		expect(await call(method, params)).toMatchObject({ status: 400, description: expect.stringContaining(words) });
	});

	test('takes messages only with text and remembers them', async () => {
		telegram.userSends({ chatId: 7, text: 'hello' });
		expect(await call('sendMessage', { chat_id: 7, text: ' ' })).toMatchObject({ status: 400 });
		expect(await call('sendMessage', { chat_id: 7, text: 'x'.repeat(4097) })).toMatchObject({ status: 400 });
		expect(await call('sendMessage', { chat_id: '7', text: 'hello you' })).toMatchObject({ status: 200 });
		const message = await telegram.waitForMessage(({ chatId }) => chatId === 7, soon());
		expect(message.text).toBe('hello you');
		const edit = { chat_id: 7, message_id: message.messageId };
		expect(await call('editMessageText', { ...edit, text: 'hello you' })).toMatchObject({ status: 400 });
		expect(await call('editMessageText', { ...edit, text: 'hello again' })).toMatchObject({ status: 200 });
	});

	test('holds updates until there is a webhook, then sends them in order with the secret, again after a failure', async () => {
		const first = telegram.userSends({ chatId: 7, text: 'one' });
		expect((await call('getUpdates', {})).result).toMatchObject([{ update_id: first.update_id }]);
		answers = [503, 200];
		expect(await call('setWebhook', hook)).toMatchObject({ status: 200 });
		expect(await call('getUpdates')).toMatchObject({ status: 409 });
		const second = telegram.userSends({ chatId: 7, text: 'two' });
		await telegram.waitForAttempt(({ updateId, status }) => updateId === second.update_id && status === 200, soon());
		expect(received.map(({ body }) => body.message.text)).toEqual(['one', 'one', 'two']);
		expect(received[0]?.secret).toBe('a-secret');
		expect((await call('getWebhookInfo')).result).toMatchObject({ pending_update_count: 0, url: hook.url });
		expect(await call('deleteWebhook')).toMatchObject({ status: 200 });
		expect(telegram.webhookUrl()).toBeNull();
	});
});

describe('the model stand-in', () => {
	let model: ModelStandIn;
	beforeEach(async () => {
		model = await startModel({ port: 0, key: 'the-key' });
	});
	afterEach(() => model.close());
	const user = (content: string): object => ({ role: 'user', content });
	function chat(body: object, key = 'the-key'): Promise<Response> {
		const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-tenant-id': 'acme' };
		return fetch(`${model.url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(body) });
	}
	async function text(messages: object[]): Promise<string> {
		const answer = (await (await chat({ model: 'demo-1', messages })).json()) as { choices: { message: { content: string } }[] };
		return answer.choices[0]?.message.content ?? '';
	}

	test('refuses a wrong key, an unknown model and a body without messages', async () => {
		expect((await chat({ model: 'demo-1', messages: [user('x')] }, 'no')).status).toBe(401);
		expect((await chat({ model: 'gpt-0', messages: [user('x')] })).status).toBe(404);
		expect((await chat({ model: 'demo-1', messages: [] })).status).toBe(400);
		expect((await chat({ model: 'demo-1', messages: [{ role: 'robot', content: '' }] })).status).toBe(400);
		expect((await fetch(`${model.url}/v1/nothing`, { headers: { authorization: 'Bearer the-key' } })).status).toBe(404);
		expect(model.requests).toEqual([]);
	});

	test('remembers nothing by itself: the answer comes from the conversation in the request', async () => {
		const question = user('what did I ask you to remember?');
		expect(await text([user('please remember blue-42')])).toBe('I will remember blue-42.');
		expect(await text([question])).toBe('You have not asked me to remember anything.');
		const conversation = [user('please remember blue-42'), { role: 'assistant', content: 'yes' }, question];
		expect(await text(conversation)).toBe('You asked me to remember blue-42.');
		const context = user('<<<BEGIN_X>>> earlier: please remember red-1 <<<END_X>>>');
		expect(await text([user('hi'), context])).toBe('I have read 2 messages.');
	});

	test('streams, calls tools when told to, and records the request without the key', async () => {
		const streamed = await (
			await chat({ model: 'demo-1', stream: true, messages: [user('TOOL:exec {"command":"ls"}END')] })
		).text();
		expect(streamed).toContain('"tool_calls"');
		expect(streamed.trimEnd().endsWith('data: [DONE]')).toBe(true);
		const request = await model.waitForRequest(({ stream }) => stream, soon());
		expect(request.headers['x-tenant-id']).toBe('acme');
		expect(JSON.stringify(request)).not.toContain('the-key');
		const result = [user('x'), { role: 'assistant', content: '' }, { role: 'tool', content: 'a file' }];
		expect(await text(result)).toBe('The tool said: a file');
	});
});
