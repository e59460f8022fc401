// One HTTP/1.1 request over a raw byte stream into an instance. Used by the delivery; the gateway streams by the same
// means. Trusts nothing in the answer: headers and body are capped, the deadline is the caller's signal, the stream is
// used once and closed.

import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { MvmError } from '@mvm/protocol';

export interface GuestRequest {
	readonly method: string;
	/** Starts with `/`. */
	readonly path: string;
	readonly headers: Readonly<Record<string, string | string[]>>;
	readonly body: Uint8Array;
	/** Only for the Host header. */
	readonly port: number;
}

export interface GuestAnswer {
	readonly status: number;
	/** Lower-case names; repeated ones joined as HTTP allows. */
	readonly headers: Readonly<Record<string, string | string[] | undefined>>;
	/** The first bytes, for error texts. */
	readonly body: Uint8Array;
}

const MAX_HEADER_BYTES = 16 * 1024;

/** Throws GUEST_PROTOCOL for anything that is not an HTTP answer within the caps; rejects with the signal's reason. */
export async function requestOverDuplex(
	stream: Duplex,
	input: GuestRequest,
	options: { readonly signal: AbortSignal; readonly maxBodyBytes: number },
): Promise<GuestAnswer> {
	const { signal } = options;
	signal.throwIfAborted();
	try {
		const answer = await new Promise<IncomingMessage>((resolve, reject) => {
			const request = httpRequest({
				createConnection: () => stream,
				method: input.method,
				path: input.path,
				headers: {
					...input.headers,
					host: `127.0.0.1:${input.port}`,
					'content-length': input.body.byteLength,
					connection: 'close',
				},
				setHost: false,
				maxHeaderSize: MAX_HEADER_BYTES,
				signal,
			});
			request.once('socket', () => stream.resume()); // it may come paused, and HTTP does not change that
			request.once('response', resolve);
			request.once('upgrade', () =>
				reject(new MvmError('GUEST_PROTOCOL', 'the instance switched protocols without being asked')),
			);
			request.once('error', reject);
			request.end(input.body);
		});
		const body = await readCapped(answer, options.maxBodyBytes);
		return { status: answer.statusCode ?? 0, headers: answer.headers, body };
	} catch (error) {
		if (signal.aborted) throw signal.reason;
		if (error instanceof MvmError) throw error;
		throw new MvmError('GUEST_PROTOCOL', `no answer from the instance: ${(error as Error).message}`, { cause: error });
	} finally {
		stream.destroy();
	}
}

async function readCapped(answer: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
	const chunks: Uint8Array[] = [];
	let bytes = 0;
	for await (const chunk of answer as AsyncIterable<Uint8Array>) {
		bytes += chunk.byteLength;
		if (bytes > maxBytes) throw new MvmError('GUEST_PROTOCOL', `the instance's answer is over ${maxBytes} bytes`);
		chunks.push(chunk);
	}
	return Buffer.concat(chunks);
}
