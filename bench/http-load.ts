// A lean HTTP/1.1 client for load: each connection writes a prepared request and waits for its whole answer before the next. Lighter
// than Node's own client, so that the server is what is measured. Used by ingress.ts.
import { connect, type Socket } from 'node:net';

export interface LoadResult {
	/** Milliseconds of every request, in the order of their ends. */
	readonly samples: readonly number[];
	readonly perSec: number;
}

export interface LoadInput {
	readonly port: number;
	/** Connections, each with one request at a time. */
	readonly inFlight: number;
	readonly seconds: number;
	readonly statuses: readonly number[];
	/** The whole request, head and body; `at` counts requests over all connections. */
	readonly request: (at: number) => Buffer;
}

/** Rejects when an answer has another status than expected. */
export async function load(input: LoadInput): Promise<LoadResult> {
	const samples: number[] = [];
	let at = 0;
	const started = performance.now();
	const until = started + input.seconds * 1000;
	const one = async (): Promise<void> => {
		const socket = await open(input.port);
		try {
			while (performance.now() < until) {
				const began = performance.now();
				const status = await exchange(socket, input.request(at++));
				if (!input.statuses.includes(status)) throw new Error(`the server answered ${status}`);
				samples.push(performance.now() - began);
			}
		} finally {
			socket.destroy();
		}
	};
	await Promise.all(Array.from({ length: input.inFlight }, one));
	return { samples, perSec: samples.length / ((performance.now() - started) / 1000) };
}

function open(port: number): Promise<Socket> {
	const { promise, resolve, reject } = Promise.withResolvers<Socket>();
	const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => resolve(socket));
	socket.once('error', reject);
	return promise;
}

/** Writes one request and returns the status once the answer is whole. */
function exchange(socket: Socket, bytes: Buffer): Promise<number> {
	const { promise, resolve, reject } = Promise.withResolvers<number>();
	let text = '';
	const finish = (settle: () => void): void => {
		socket.off('data', onData).off('close', onClose);
		settle();
	};
	const onClose = (): void => finish(() => reject(new Error('the server closed the connection')));
	const onData = (chunk: Buffer): void => {
		text += chunk.toString('latin1');
		const head = text.indexOf('\r\n\r\n');
		if (head < 0) return;
		const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head))?.[1] ?? Number.NaN);
		const isWhole = Number.isNaN(length) ? text.endsWith('0\r\n\r\n') : text.length >= head + 4 + length;
		if (isWhole) finish(() => resolve(Number(text.slice(9, 12))));
	};
	socket.on('data', onData).on('close', onClose);
	socket.write(bytes);
	return promise;
}
