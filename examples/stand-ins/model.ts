// A strict stand-in for an OpenAI-compatible model server: key checked, malformed requests refused, answers derived only from
// the conversation in the request. So a right answer proves that the caller sent the conversation, and nothing is remembered here.

import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type Listening, listen, parseObject, Recorded, sendJson } from './http.ts';

/** One chat request as it arrived; headers in lower case, the credential removed. */
export interface ModelRequest {
	readonly at: number;
	readonly headers: Readonly<Record<string, string>>;
	readonly stream: boolean;
	readonly messages: readonly ChatMessage[];
	/** The whole body, for asserting that something (a nonce) is somewhere in it. */
	readonly body: string;
	readonly reply: Reply;
}
interface ChatMessage {
	readonly role: string;
	readonly text: string;
}
type Reply = { readonly text: string } | { readonly tool: string; readonly input: string };

export interface ModelStandIn extends Listening {
	readonly requests: readonly ModelRequest[];
	/** The first chat request that matches, past ones included. */
	waitForRequest(matches: (request: ModelRequest) => boolean, signal: AbortSignal): Promise<ModelRequest>;
}
export interface ModelOptions {
	readonly port: number;
	readonly key: string;
	/** Model ids it serves; others get 404 as from the real thing. */
	readonly models?: readonly string[];
	readonly latencyMs?: number;
}

/** Starts the server; the credential it expects is `Authorization: Bearer <key>`. */
export async function startModel(options: ModelOptions): Promise<ModelStandIn> {
	const models = options.models ?? ['demo-1'];
	const requests = new Recorded<ModelRequest>();
	const listening = await listen(options.port, async (request, body, response) => {
		if (request.headers.authorization !== `Bearer ${options.key}`)
			return refuse(response, 401, 'invalid_api_key', 'Incorrect API key provided.');
		const path = new URL(request.url ?? '/', 'http://model').pathname;
		if (path === '/v1/models' && request.method === 'GET')
			return sendJson(response, 200, {
				object: 'list',
				data: models.map((id) => ({ id, object: 'model', created: 1, owned_by: 'demo' })),
			});
		if (path !== '/v1/chat/completions') return refuse(response, 404, 'unknown_url', `Unknown request URL: ${path}`);
		if (request.method !== 'POST') return refuse(response, 405, 'method_not_allowed', 'Only POST requests are accepted.');
		const input = parseObject(body);
		const messages = input === null ? null : parseMessages(input['messages']);
		if (input === null || messages === null)
			return refuse(response, 400, 'invalid_request_error', 'messages must be a non-empty array');
		const model = input['model'];
		if (typeof model !== 'string' || !models.includes(model))
			return refuse(response, 404, 'model_not_found', `The model ${JSON.stringify(model)} does not exist`);
		const reply = answer(messages);
		const stream = input['stream'] === true;
		requests.add({ at: Date.now(), headers: plainHeaders(request.headers), stream, messages, body, reply });
		if (options.latencyMs !== undefined) await delay(options.latencyMs);
		const id = `chatcmpl-${requests.all.length}`;
		return stream ? sendStream(response, { id, model, reply }) : sendWhole(response, { id, model, reply });
	});
	return {
		...listening,
		requests: requests.all,
		waitForRequest: (matches, signal) => requests.wait(matches, signal),
	};
}

/**
 * The script: `TOOL:<name> <json>END` in the newest user text calls a tool, a tool's result is echoed, "remember <word>" is
 * acknowledged, "what did I ask you to remember" is answered from the earlier messages of this very request.
 */
export function answer(messages: readonly ChatMessage[]): Reply {
	const last = messages.at(-1);
	if (last?.role === 'tool') return { text: `The tool said: ${last.text.slice(0, 200)}` };
	// Agents put context around the person's words, some as user messages of their own: look at all trailing ones. OpenClaw repeats
	// earlier messages in a marked block; those are not what the person says now.
	const from = messages.findLastIndex((message) => message.role !== 'user') + 1;
	const newest = messages
		.slice(from)
		.map((message) => message.text.replace(/<<<BEGIN_(\w+)>>>.*?<<<END_\1>>>/gs, ''))
		.join('\n');
	const tool = /TOOL:(\S+) (\{.*?\})END/s.exec(newest);
	if (tool?.[1] !== undefined && tool[2] !== undefined) return { tool: tool[1], input: tool[2] };
	const remembered = /\bremember (?:the word )?([A-Za-z0-9-]{4,})/i;
	if (/what did I ask you to remember/i.test(newest)) {
		const earlier = messages.slice(0, from).filter((message) => message.role === 'user');
		const word = earlier.map((message) => remembered.exec(message.text)?.[1]).findLast((found) => found !== undefined);
		return { text: word === undefined ? 'You have not asked me to remember anything.' : `You asked me to remember ${word}.` };
	}
	const word = remembered.exec(newest)?.[1];
	return { text: word === undefined ? `I have read ${messages.length} messages.` : `I will remember ${word}.` };
}

function parseMessages(value: unknown): ChatMessage[] | null {
	if (!Array.isArray(value) || value.length === 0) return null;
	const messages: ChatMessage[] = [];
	for (const item of value as unknown[]) {
		if (typeof item !== 'object' || item === null) return null;
		const { role, content } = item as { role?: unknown; content?: unknown };
		if (typeof role !== 'string' || !['system', 'developer', 'user', 'assistant', 'tool'].includes(role)) return null;
		messages.push({ role, text: textOf(content) });
	}
	return messages;
}

function textOf(content: unknown): string {
	if (typeof content === 'string') return content;
	if (!Array.isArray(content)) return '';
	return content.map((part: unknown) => String((part as { text?: unknown } | null)?.text ?? '')).join('');
}

function plainHeaders(headers: IncomingHttpHeaders): Record<string, string> {
	const { authorization: _credential, ...rest } = headers;
	return Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, String(value)]));
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
	sendJson(response, status, { error: { message, type: 'invalid_request_error', param: null, code } });
}

const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
interface Completion {
	readonly id: string;
	readonly model: string;
	readonly reply: Reply;
}

function toolCall({ id, reply }: Completion): { id: string; type: string; function: { name: string; arguments: string } } | null {
	return 'tool' in reply ? { id: `call_${id}`, type: 'function', function: { name: reply.tool, arguments: reply.input } } : null;
}

function sendWhole(response: ServerResponse, completion: Completion): void {
	const { id, model, reply } = completion;
	const call = toolCall(completion);
	const message = call
		? { role: 'assistant', content: null, tool_calls: [call] }
		: { role: 'assistant', content: 'text' in reply ? reply.text : '' };
	const choices = [{ index: 0, message, finish_reason: call ? 'tool_calls' : 'stop' }];
	sendJson(response, 200, { id, object: 'chat.completion', created: 1, model, choices, usage });
}

function sendStream(response: ServerResponse, completion: Completion): void {
	const { id, model, reply } = completion;
	const call = toolCall(completion);
	response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
	const send = (delta: unknown, finish: string | null, extra: object = {}): void => {
		const chunk = {
			id,
			object: 'chat.completion.chunk',
			created: 1,
			model,
			choices: [{ index: 0, delta, finish_reason: finish }],
			...extra,
		};
		response.write(`data: ${JSON.stringify(chunk)}\n\n`);
	};
	send({ role: 'assistant' }, null);
	send(call ? { tool_calls: [{ index: 0, ...call }] } : { content: 'text' in reply ? reply.text : '' }, null);
	send({}, call ? 'tool_calls' : 'stop', { usage });
	response.end('data: [DONE]\n\n');
}
