// One HTTP exchange with the platform, over a Unix socket or TCP, with or without TLS. Used by client.ts only. Node's own
// http client: no dependency, Unix sockets included.
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { fromProblem, MvmError } from '@mvm/protocol';

/** Where the platform is. The admin socket needs no key: its file mode is the check. */
export type Server =
	| { readonly socketPath: string }
	| { readonly server: string; readonly key: string /** PEM of a private authority. */; readonly ca?: string };

export interface Exchange {
	readonly method: string;
	/** Query included. */
	readonly path: string;
	readonly body?: unknown;
	readonly headers?: Readonly<Record<string, string>>;
	readonly signal?: AbortSignal | undefined;
}

export class Transport {
	readonly #server: Server;
	readonly #agent: HttpAgent;

	constructor(server: Server) {
		this.#server = server;
		const isTls = 'server' in server && new URL(server.server).protocol === 'https:';
		this.#agent = isTls ? new HttpsAgent({ keepAlive: true, ca: server.ca }) : new HttpAgent({ keepAlive: true });
	}

	/** Resolves with the answer's stream when the status is 2xx; otherwise rejects with the error it stands for. */
	async open(exchange: Exchange): Promise<IncomingMessage> {
		const answer = await this.#send(exchange);
		const status = answer.statusCode ?? 0;
		if (status >= 200 && status < 300) return answer;
		const text = await readText(answer);
		throw fromProblem(parseJson(text), status);
	}

	/** The answer's JSON. */
	async json(exchange: Exchange): Promise<unknown> {
		return parseJson(await readText(await this.open(exchange)));
	}

	close(): void {
		this.#agent.destroy();
	}

	#send(exchange: Exchange): Promise<IncomingMessage> {
		const server = this.#server;
		const body = exchange.body === undefined ? undefined : Buffer.from(JSON.stringify(exchange.body));
		const headers: Record<string, string | number> = { accept: 'application/json', ...exchange.headers };
		if (body !== undefined) {
			headers['content-type'] = 'application/json';
			headers['content-length'] = body.byteLength;
		}
		const common = { method: exchange.method, path: exchange.path, headers, agent: this.#agent };
		return new Promise((resolve, reject) => {
			const fail = (cause: Error): void =>
				reject(exchange.signal?.aborted === true ? exchange.signal.reason : unreachable(server, cause));
			const options = { ...common, ...(exchange.signal === undefined ? {} : { signal: exchange.signal }) };
			let request: ReturnType<typeof httpRequest>;
			if ('socketPath' in server) request = httpRequest({ ...options, socketPath: server.socketPath }, resolve);
			else {
				const url = new URL(server.server);
				headers['authorization'] = `Bearer ${server.key}`;
				const at = { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port };
				request = (url.protocol === 'https:' ? httpsRequest : httpRequest)({ ...options, ...at }, resolve);
			}
			request.once('error', fail);
			request.end(body);
		});
	}
}

async function readText(answer: IncomingMessage): Promise<string> {
	let text = '';
	for await (const chunk of answer.setEncoding('utf8')) text += chunk;
	return text;
}

function parseJson(text: string): unknown {
	try {
		return JSON.parse(text) as unknown;
	} catch {
		return undefined; // a proxy's page, say; fromProblem and the codecs name what is missing
	}
}

function unreachable(server: Server, cause: Error & { code?: string }): MvmError {
	const where = 'socketPath' in server ? server.socketPath : server.server;
	const isDenied = cause.code === 'EACCES';
	return new MvmError('UPSTREAM_FAILED', `the platform does not answer at ${where}: ${cause.code ?? cause.message}`, {
		details: { address: where, reason: cause.code ?? cause.message },
		hint: isDenied
			? 'the admin socket belongs to another user: run as that user, or use --server with a key'
			: 'start it with: mvm up; or name another one with --socket, or --server and --key',
		cause,
	});
}
