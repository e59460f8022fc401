// The first frame on a link stream: read within a deadline and a size, judged by the link, answered. Nothing of the guest's
// is trusted before that, and little is read.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { encodeFrame, FrameParser, LinkHello, LinkHelloAnswer } from '@mvm/protocol';
import type { Clock } from '../../../ports/clock.ts';
import type { LinkIdentity } from '../../../ports/link.ts';

/** A hello has about 150 bytes. */
const MAX_HELLO_BYTES = 4096;

export interface Greeting {
	readonly hello: LinkHello;
	/** Bytes the guest sent behind its hello. */
	readonly rest: Uint8Array;
}

/** Rejects with the reason when the guest is too slow, sends too much, hangs up, or says something else. */
export function readHello(socket: Socket, options: { clock: Clock; deadlineMs: number }): Promise<Greeting> {
	const { promise, resolve, reject } = Promise.withResolvers<Greeting>();
	const parser = new FrameParser();
	let bytes = 0;
	const cancel = options.clock.after(options.deadlineMs, () => finish(() => reject(new Error('no hello in time'))));
	const finish = (settle: () => void): void => {
		cancel();
		socket.off('data', onData).off('close', onClose);
		socket.pause();
		settle();
	};
	const onClose = (): void => finish(() => reject(new Error('the guest hung up before its hello')));
	const onData = (chunk: Buffer): void => {
		try {
			bytes += chunk.length;
			if (bytes > MAX_HELLO_BYTES) throw new Error('the hello is too long');
			const [frame] = parser.push(chunk, { maxFrames: 1 });
			if (frame === undefined) return;
			const hello = LinkHello.parse(frame);
			const rest = parser.rest();
			finish(() => resolve({ hello, rest }));
		} catch (error) {
			finish(() => reject(error));
		}
	};
	socket.on('data', onData).on('close', onClose);
	return promise;
}

export function answerHello(socket: Socket, refusedBecause?: string): void {
	const answer: LinkHelloAnswer = refusedBecause === undefined ? { accepted: true } : { accepted: false, reason: refusedBecause };
	socket.write(encodeFrame(LinkHelloAnswer.encode(answer)));
}

/** Constant time in the token, whatever its length. */
export function isIdentity(hello: LinkHello, identity: LinkIdentity | undefined): boolean {
	if (identity === undefined) return false;
	const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
	const sameToken = timingSafeEqual(digest(hello.token), digest(identity.token));
	return sameToken && hello.incarnation === identity.incarnation;
}
