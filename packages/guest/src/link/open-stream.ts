// Dials one of the host's two link sockets and says which life of the instance this is; HTTP/2 begins after the host's yes.
import { connect, type Socket } from 'node:net';
import { encodeFrame, FrameParser, LinkHello, LinkHelloAnswer } from '@mvm/protocol';
import type { Identity } from '../identity.ts';

const GREETING_MS = 10_000;
const MAX_ANSWER_BYTES = 4096;
const AGENT_VERSION = '0.1.0';

/** Rejects with the reason when the host is not there, says no, or takes too long. */
export function openLinkStream(
	path: string,
	stream: LinkHello['stream'],
	identity: Identity,
	signal: AbortSignal,
): Promise<Socket> {
	const { promise, resolve, reject } = Promise.withResolvers<Socket>();
	const socket = connect({ path, allowHalfOpen: false });
	const parser = new FrameParser();
	let bytes = 0;
	const timer = setTimeout(() => fail(new Error('the host did not answer the hello')), GREETING_MS);
	const detach = (): void => {
		clearTimeout(timer);
		signal.removeEventListener('abort', onAbort);
		socket.off('data', onData).off('close', onClose);
	};
	const fail = (error: Error): void => {
		detach();
		socket.destroy();
		reject(error);
	};
	const onAbort = (): void => fail(new Error('stopping'));
	const onClose = (): void => fail(new Error('the host closed the stream'));
	const onData = (chunk: Buffer): void => {
		try {
			bytes += chunk.length;
			const [frame] = parser.push(chunk, { maxFrames: 1 });
			if (frame === undefined) {
				if (bytes > MAX_ANSWER_BYTES) throw new Error('the answer to the hello is too long');
				return;
			}
			const answer = LinkHelloAnswer.parse(frame);
			if (!answer.accepted) throw new Error(`the host refused this life: ${answer.reason}`);
			detach();
			socket.pause();
			const rest = parser.rest();
			if (rest.length > 0) socket.unshift(rest);
			resolve(socket);
		} catch (error) {
			fail(error as Error);
		}
	};
	// Stays for the socket's life; its end is seen by 'close'.
	socket.on('error', (error) => reject(error));
	socket.on('data', onData).on('close', onClose);
	socket.write(encodeFrame(LinkHello.encode({ ...identity, stream, agentVersion: AGENT_VERSION })));
	signal.addEventListener('abort', onAbort, { once: true });
	return promise;
}
