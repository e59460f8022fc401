// One request to hostd over its Unix socket. Plain documents or streams; an unreachable hostd is HOSTD_UNAVAILABLE, which
// callers may retry, because hostd restarts without touching what it looks after.
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fromProblem, MvmError } from '@mvm/protocol';
import type { CallOptions } from '../../../ports/runtime.ts';

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** Sends one document and returns the answer's document. Throws what hostd answered, or HOSTD_UNAVAILABLE. */
export async function postDocument(socketPath: string, method: string, body: unknown, options: CallOptions): Promise<unknown> {
	const response = await post(socketPath, method, [Buffer.from(JSON.stringify(body))], options);
	return readJson(response, options.signal);
}

/** Sends a stream of bytes and returns the answer as a stream of bytes. Throws like `postDocument`. */
export async function postStream(
	socketPath: string,
	method: string,
	body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
	options: CallOptions,
): Promise<IncomingMessage> {
	return post(socketPath, method, body, options);
}

async function post(
	socketPath: string,
	method: string,
	body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
	{ signal }: CallOptions,
): Promise<IncomingMessage> {
	signal.throwIfAborted();
	const request = httpRequest({ socketPath, path: `/rpc/${method}`, method: 'POST', signal, agent: false });
	const answered = answerOf(request, signal);
	// The sending half fails on its own when hostd refuses early; the answer says why, and only it is reported.
	const sent = pipeline(Readable.from(body, { objectMode: false }), request, { signal }).catch((error: unknown) => error);
	const response = await answered;
	if (response.statusCode === 200) return response;
	const problem = fromProblem(await readJson(response, signal), response.statusCode);
	request.destroy(); // hostd has answered; what is still being sent is for nobody
	await sent;
	throw problem;
}

function answerOf(request: ClientRequest, signal: AbortSignal): Promise<IncomingMessage> {
	return new Promise((resolve, reject) => {
		request.on('response', resolve);
		request.on('error', (cause) => {
			if (signal.aborted) return reject(signal.reason);
			reject(
				new MvmError('HOSTD_UNAVAILABLE', 'hostd does not answer', {
					details: { reason: cause.message },
					hint: 'mvm doctor says whether mvm-hostd runs',
					cause,
				}),
			);
		});
	});
}

async function readJson(response: IncomingMessage, signal: AbortSignal): Promise<unknown> {
	const parts: Buffer[] = [];
	let size = 0;
	try {
		for await (const part of response as AsyncIterable<Buffer>) {
			size += part.length;
			if (size > MAX_ANSWER_BYTES) throw new MvmError('INTERNAL', 'hostd answered with too much');
			parts.push(part);
		}
		return JSON.parse(Buffer.concat(parts).toString('utf8'));
	} catch (cause) {
		signal.throwIfAborted();
		if (cause instanceof MvmError) throw cause;
		throw new MvmError('HOSTD_UNAVAILABLE', 'hostd broke off its answer', { cause });
	}
}
