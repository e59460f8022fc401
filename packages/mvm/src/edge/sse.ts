// Server-sent events: the text form, and a response that streams them with a heartbeat. Used for /v1/events and for the
// progress of long requests. A slow reader slows the source down; a reader that left ends it.
import type { Clock } from '../ports/clock.ts';

export interface ServerEvent {
	readonly event?: string;
	readonly id?: string;
	readonly data: unknown;
}

const HEARTBEAT_MS = 15_000;

export function formatEvent(event: ServerEvent): string {
	const id = event.id === undefined ? '' : `id: ${event.id}\n`;
	const name = event.event === undefined ? '' : `event: ${event.event}\n`;
	return `${id}${name}data: ${JSON.stringify(event.data)}\n\n`;
}

/** Streams what the source yields; `abort` is called when the client goes away. */
export function eventStream(source: AsyncIterable<ServerEvent>, deps: { clock: Clock; abort: () => void }): Response {
	const encoder = new TextEncoder();
	const iterator = source[Symbol.asyncIterator]();
	let cancelBeat = (): void => {};
	const body = new ReadableStream<Uint8Array>({
		start(controller) {
			controller.enqueue(encoder.encode(': open\n\n'));
			const beat = (): void => {
				if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(': beat\n\n'));
				cancelBeat = deps.clock.after(HEARTBEAT_MS, beat);
			};
			cancelBeat = deps.clock.after(HEARTBEAT_MS, beat);
		},
		async pull(controller) {
			try {
				const next = await iterator.next();
				if (next.done !== true) {
					controller.enqueue(encoder.encode(formatEvent(next.value)));
					return;
				}
			} catch {
				// the source ended with its client or with the platform; the reader sees the end of the stream
			}
			cancelBeat();
			controller.close();
		},
		async cancel() {
			cancelBeat();
			deps.abort();
			await iterator.return?.();
		},
	});
	return new Response(body, {
		headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
	});
}
