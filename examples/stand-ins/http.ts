// What both stand-ins share: a loopback HTTP server with bounded bodies, and a way to wait for something it recorded.
// Used by the demo, tests and benches; it plays a foreign service and must not know anything about mvm.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const MAX_BODY_BYTES = 8 * 1024 * 1024;

/** A started stand-in's address and its end. */
export interface Listening {
	/** `http://127.0.0.1:<port>`, no slash at the end. */
	readonly url: string;
	close(): Promise<void>;
}

type Handler = (request: IncomingMessage, body: string, response: ServerResponse) => Promise<void>;

/** Listens on loopback; port 0 takes a free one. A handler that throws answers 500 with the message. */
export async function listen(port: number, handle: Handler): Promise<Listening> {
	const server = createServer((request, response) => {
		void readBody(request)
			.then((body) => handle(request, body, response))
			.catch((error: unknown) => {
				if (!response.headersSent) sendJson(response, 500, { error: String(error) });
				else response.destroy();
			});
	});
	await new Promise<void>((resolve, reject) => {
		server.once('error', reject);
		server.listen(port, '127.0.0.1', resolve);
	});
	return {
		url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
		close: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				server.closeAllConnections();
			}),
	};
}

/** Answers one JSON value. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
	const body = JSON.stringify(value);
	response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
	response.end(body);
}

/** A plain JSON object, or null for anything else. */
export function parseObject(text: string): Record<string, unknown> | null {
	try {
		const value: unknown = JSON.parse(text);
		return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
	} catch {
		return null;
	}
}

async function readBody(request: IncomingMessage): Promise<string> {
	const parts: Buffer[] = [];
	let bytes = 0;
	for await (const part of request as AsyncIterable<Buffer>) {
		bytes += part.length;
		if (bytes > MAX_BODY_BYTES) throw new Error('body too large');
		parts.push(part);
	}
	return Buffer.concat(parts).toString('utf8');
}

/** People waiting for a recorded thing: `add` announces one, `wait` resolves with the first (also an earlier one) that matches. */
export class Recorded<T> {
	readonly all: T[] = [];
	readonly #waiting = new Set<{ matches: (item: T) => boolean; resolve: (item: T) => void }>();

	add(item: T): void {
		this.all.push(item);
		for (const waiter of [...this.#waiting]) {
			if (!waiter.matches(item)) continue;
			this.#waiting.delete(waiter);
			waiter.resolve(item);
		}
	}

	/** Rejects with the signal's reason when it aborts first. */
	async wait(matches: (item: T) => boolean, signal: AbortSignal): Promise<T> {
		const found = this.all.find(matches);
		if (found !== undefined) return found;
		signal.throwIfAborted();
		return new Promise<T>((resolve, reject) => {
			const onAbort = (): void => {
				this.#waiting.delete(waiter);
				reject(signal.reason as Error);
			};
			const waiter = {
				matches,
				resolve: (item: T): void => {
					signal.removeEventListener('abort', onAbort);
					resolve(item);
				},
			};
			this.#waiting.add(waiter);
			signal.addEventListener('abort', onAbort, { once: true });
		});
	}
}
