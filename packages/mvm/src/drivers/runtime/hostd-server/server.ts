// hostd's door: HTTP/1.1 over a Unix socket, `POST /rpc/<method>`, checked documents in and out, problem documents for
// errors. The socket's file mode is the authentication. Nothing here touches an instance; the runtime behind it does.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import { MvmError, PROBLEM_CONTENT_TYPE, type Problem, toProblem } from '@mvm/protocol';
import type { Logger } from '../../../platform/logger.ts';
import type { CallOptions, Runtime } from '../../../ports/runtime.ts';
import { CALLS, type CallName } from '../hostd-rpc/methods.ts';
import { makeCalls } from './calls.ts';
import { STREAMS } from './streams.ts';

const MAX_BODY_BYTES = 8 * 1024 * 1024;
/** Whatever hangs in the kernel longer than this is given up, so that a lock is not held for ever. */
const CALL_DEADLINE_MS = 10 * 60_000;
/** Cut short when their caller goes away; all others are finished, because half of them is worse than all of them. */
const ABANDONABLE: ReadonlySet<string> = new Set(['snapshot', 'prefetch', 'inspect', 'adopt', 'logs', 'list_images']);

export interface HostdServer {
	/** Stops accepting, waits for calls in flight (at most until the signal aborts), never touches a sandbox. */
	drain(options: CallOptions): Promise<void>;
	readonly http: Server;
}

/** Serves `runtime`; the caller makes `http` listen. */
export function makeHostdServer(deps: { readonly runtime: Runtime; readonly log: Logger }): HostdServer {
	const calls = makeCalls(deps.runtime);
	const inFlight = new Set<Promise<void>>();
	const http = createServer((request, response) => {
		const work = serve(deps, calls, request, response).finally(() => inFlight.delete(work));
		inFlight.add(work);
	});
	// A long stop or image build must not be cut by the server's own request timers.
	http.requestTimeout = 0;
	http.headersTimeout = 10_000;
	return {
		http,
		async drain({ signal }) {
			http.close();
			http.closeIdleConnections();
			const { promise, resolve } = Promise.withResolvers<void>();
			signal.addEventListener('abort', () => resolve(), { once: true });
			await Promise.race([Promise.allSettled(inFlight), promise]);
			http.closeAllConnections();
		},
	};
}

async function serve(
	deps: { readonly runtime: Runtime; readonly log: Logger },
	calls: ReturnType<typeof makeCalls>,
	request: IncomingMessage,
	response: ServerResponse,
): Promise<void> {
	const method = /^\/rpc\/([a-z_]+)$/.exec(request.url ?? '')?.[1] ?? '';
	const gone = new AbortController();
	response.on('close', () => {
		if (!response.writableFinished) gone.abort(new MvmError('CANCELLED', 'the caller went away'));
	});
	const deadline = AbortSignal.timeout(CALL_DEADLINE_MS);
	try {
		if (request.method !== 'POST') throw new MvmError('NOT_FOUND', 'hostd answers POST /rpc/<method> only');
		const stream = STREAMS.get(method);
		if (stream !== undefined) return await stream({ runtime: deps.runtime, request, response, signal: gone.signal });
		if (!isCall(method)) throw new MvmError('NOT_FOUND', 'hostd has no such method', { details: { method } });
		const body = await readJson(request);
		const signal = ABANDONABLE.has(method) ? AbortSignal.any([deadline, gone.signal]) : deadline;
		answer(response, 200, await calls[method](body, { signal }), 'application/json');
	} catch (error) {
		const known = named(error);
		if (known === undefined) deps.log.error({ err: error, method }, 'hostd call failed');
		else deps.log.debug({ err: error, method }, 'hostd call refused');
		const problem = toProblem(known ?? error);
		if (response.headersSent) response.destroy();
		else await refuse(request, response, problem);
	}
}

function isCall(method: string): method is CallName {
	return Object.hasOwn(CALLS, method);
}

/** The errors that mean something as they are; undefined for those that somebody must look at. */
function named(error: unknown): MvmError | undefined {
	if (error instanceof MvmError) return error;
	if (!(error instanceof Error)) return undefined;
	const code = (error as NodeJS.ErrnoException).code;
	if (error.name === 'TimeoutError') return new MvmError('TIMEOUT', 'hostd gave the call up', { cause: error });
	if (code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ECONNRESET')
		return new MvmError('CANCELLED', 'the caller went away', { cause: error });
	if (code === 'ENOSPC' || code === 'EDQUOT')
		return new MvmError('DISK_FULL', 'no space is left on the device', { cause: error });
	return undefined;
}

function answer(response: ServerResponse, status: number, document: unknown, type: string): void {
	const body = Buffer.from(JSON.stringify(document));
	response.writeHead(status, { 'content-type': type, 'content-length': body.length });
	response.end(body);
}

/**
 * Sends the problem at once but keeps reading until the caller stops sending: closing over unread bytes would reset the
 * connection, and the caller could lose the answer to the reset.
 */
async function refuse(request: IncomingMessage, response: ServerResponse, problem: Problem): Promise<void> {
	const body = Buffer.from(JSON.stringify(problem));
	response.writeHead(problem.status, { 'content-type': PROBLEM_CONTENT_TYPE, 'content-length': body.length });
	response.write(body);
	request.resume();
	// A caller that just goes away has stopped sending, too.
	if (!request.complete) await finished(request, { writable: false }).catch(() => {});
	response.end();
}

/** Throws BODY_TOO_LARGE or INVALID_DOCUMENT. */
async function readJson(request: IncomingMessage): Promise<unknown> {
	const parts: Buffer[] = [];
	let size = 0;
	for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
		size += part.length;
		if (size > MAX_BODY_BYTES) throw new MvmError('BODY_TOO_LARGE', 'the request is larger than hostd takes');
		parts.push(part);
	}
	try {
		return JSON.parse(Buffer.concat(parts).toString('utf8') || '{}');
	} catch (cause) {
		throw new MvmError('INVALID_DOCUMENT', 'the request is not JSON', { cause });
	}
}
