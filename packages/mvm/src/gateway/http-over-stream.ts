// Serves HTTP/1.1 on streams that guests opened: one Node server that never listens, fed with duplexes.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** `From` is what is known about the stream's other end; it comes from the link, never from the request. */
export function serveStreams<From>(
	options: { readonly idleMs: number },
	handle: (request: IncomingMessage, response: ServerResponse, from: From) => Promise<void>,
): (stream: Duplex, from: From) => void {
	const origins = new WeakMap<object, From>();
	const limits = { requestTimeout: options.idleMs, headersTimeout: 30_000, keepAliveTimeout: 60_000, maxHeaderSize: 32 * 1024 };
	const server = createServer(limits, (request, response) => {
		const from = origins.get(request.socket);
		if (from === undefined) response.destroy();
		else void handle(request, response, from).catch(() => response.destroy());
	});
	return (stream, from) => {
		origins.set(stream, from);
		stream.on('error', () => stream.destroy());
		server.emit('connection', stream);
	};
}
