// A tiny agent: counts Telegram messages, each exactly once, and answers every one with its number. Plain Node, no packages.
// An event is on disk (fsync) before it is acknowledged; a reply that was not sent before a crash is sent after it.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { openLedger } from './ledger.js';

const PORT = Number(process.env.PORT ?? 8787);
const STATE_DIR = process.env.COUNTER_STATE_DIR ?? '/data/integrations/counter/state';
const SECRETS_DIR = process.env.COUNTER_SECRETS_DIR ?? '/run/secrets/counter';
const BOT_API = process.env.COUNTER_BOT_API ?? 'http://127.0.0.1:4020';
const MAX_BODY_BYTES = 1_048_576;
const REPLY_RETRY_MS = [200, 1000, 5000];

const ledger = await openLedger(`${STATE_DIR}/events.log`);
let duplicates = 0;

const server = createServer(async (request, response) => {
	const path = new URL(request.url ?? '/', 'http://counter').pathname;
	try {
		if (request.method === 'POST' && path === '/telegram-webhook') await onUpdate(request, response);
		else if (path === '/count')
			send(response, 200, { count: ledger.count(), chats: ledger.chats(), duplicates, pid: process.pid });
		else if (path === '/healthz' || path === '/startupz') send(response, 200, { ok: true });
		else send(response, 404, { error: 'no such path' });
	} catch (error) {
		if (response.headersSent) return void response.destroy();
		send(response, 500, { error: error.message });
	}
});
server.listen(PORT, '127.0.0.1', () => console.log(`counting from ${ledger.count()} on port ${PORT}`));
for (const event of ledger.unanswered()) void reply(event);

process.on('SIGTERM', () => {
	server.close(() => process.exit(0));
	server.closeIdleConnections();
	setTimeout(() => process.exit(0), 3000).unref();
});

async function onUpdate(request, response) {
	const expected = secret('TELEGRAM_WEBHOOK_SECRET');
	if (expected !== undefined && request.headers['x-telegram-bot-api-secret-token'] !== expected)
		return send(response, 401, { error: 'wrong secret' });
	const update = JSON.parse(await body(request));
	const chat = update?.message?.chat?.id;
	if (!Number.isSafeInteger(update?.update_id)) return send(response, 400, { error: 'no update_id' });
	const event = { update_id: update.update_id, chat: chat ?? 0, text: String(update?.message?.text ?? '').slice(0, 4096) };
	const isNew = await ledger.add(event);
	if (!isNew) duplicates += 1;
	send(response, 200, { ok: true, count: ledger.count() }, { 'x-openclaw-delivery-accepted': 'durable' });
	if (isNew) void reply(ledger.get(event.update_id));
}

/** Best effort: what cannot be sent now is sent after the next start. */
async function reply(event) {
	const token = secret('TELEGRAM_BOT_TOKEN');
	if (token === undefined || event.chat === 0) return;
	for (const waitMs of [0, ...REPLY_RETRY_MS]) {
		await new Promise((done) => setTimeout(done, waitMs));
		try {
			const answer = await fetch(`${BOT_API}/bot${token}/sendMessage`, {
				method: 'POST',
				headers: { 'content-type': 'application/json', connection: 'close' },
				body: JSON.stringify({ chat_id: event.chat, text: `message ${event.number}: ${event.text}` }),
				signal: AbortSignal.timeout(10_000),
			});
			await answer.arrayBuffer();
			if (answer.ok) return await ledger.answered(event.update_id);
			console.log(`the bot API answered ${answer.status} for update ${event.update_id}`);
		} catch (error) {
			console.log(`no reply for update ${event.update_id}: ${error.cause?.code ?? error.message}`);
		}
	}
}

function send(response, status, value, headers = {}) {
	response.writeHead(status, { 'content-type': 'application/json', ...headers });
	response.end(`${JSON.stringify(value)}\n`);
}

async function body(request) {
	const chunks = [];
	let bytes = 0;
	for await (const chunk of request) {
		bytes += chunk.length;
		if (bytes > MAX_BODY_BYTES) throw new Error('the body is too large');
		chunks.push(chunk);
	}
	return Buffer.concat(chunks).toString('utf8');
}

/** Read at every use: the host may rewrite it. */
function secret(name) {
	try {
		return readFileSync(`${SECRETS_DIR}/${name}`, 'utf8').trim();
	} catch {
		return undefined;
	}
}
