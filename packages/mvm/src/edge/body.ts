// Reads request bodies with a cap. Called for everything the edge keeps in memory; the gateway streams instead.
import type { IncomingMessage } from 'node:http';
import { MvmError } from '@mvm/protocol';

const tooLarge = (maxBytes: number): MvmError =>
	new MvmError('BODY_TOO_LARGE', `the body is over ${maxBytes} bytes`, { details: { limit_bytes: maxBytes } });

/** A body that is still not whole after this long is given up, and its connection with it. */
const DEADLINE_MS = 30_000;

/** The whole body. Throws BODY_TOO_LARGE as soon as it is known, and then reads no further. */
export async function readBody(request: IncomingMessage, maxBytes: number, deadlineMs = DEADLINE_MS): Promise<Uint8Array> {
	if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
	const deadline = AbortSignal.timeout(deadlineMs);
	const giveUp = (): void => void request.destroy(new MvmError('TIMEOUT', 'the body did not come in time'));
	deadline.addEventListener('abort', giveUp, { once: true });
	const chunks: Uint8Array[] = [];
	let bytes = 0;
	try {
		for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
			bytes += chunk.byteLength;
			if (bytes > maxBytes) throw tooLarge(maxBytes);
			chunks.push(chunk);
		}
	} finally {
		deadline.removeEventListener('abort', giveUp);
	}
	return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** The same for a Fetch request, parsed as JSON; undefined when there is no body. */
export async function readJson(request: Request, maxBytes: number): Promise<unknown> {
	const chunks: Uint8Array[] = [];
	let bytes = 0;
	if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
	for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
		bytes += chunk.byteLength;
		if (bytes > maxBytes) throw tooLarge(maxBytes);
		chunks.push(chunk);
	}
	if (bytes === 0) return undefined;
	try {
		return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
	} catch (cause) {
		throw new MvmError('INVALID_DOCUMENT', `the body is not JSON: ${(cause as Error).message}`, {
			details: { problems: [{ path: '', message: 'is not JSON' }] },
			cause,
		});
	}
}
