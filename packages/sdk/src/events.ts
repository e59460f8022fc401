// Reads server-sent events from a byte stream: a push parser, and the loop that follows /v1/events over reconnects.
import type { Readable } from 'node:stream';

export interface ServerEvent {
	readonly event: string;
	readonly id: string | undefined;
	readonly data: string;
}

/** Takes text in pieces of any size and returns the events that became complete. */
export class EventParser {
	#rest = '';
	#event = '';
	#id: string | undefined;
	#data: string[] = [];

	push(text: string): ServerEvent[] {
		this.#rest += text;
		const events: ServerEvent[] = [];
		for (;;) {
			const end = this.#rest.indexOf('\n');
			if (end < 0) return events;
			const line = this.#rest.slice(0, end).replace(/\r$/, '');
			this.#rest = this.#rest.slice(end + 1);
			const event = this.#line(line);
			if (event !== undefined) events.push(event);
		}
	}

	#line(line: string): ServerEvent | undefined {
		if (line === '') {
			const complete = this.#data.length === 0 ? undefined : { event: this.#event, id: this.#id, data: this.#data.join('\n') };
			this.#event = '';
			this.#data = [];
			return complete;
		}
		const at = line.indexOf(':');
		const field = at < 0 ? line : line.slice(0, at);
		const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
		if (field === 'event') this.#event = value;
		else if (field === 'id') this.#id = value;
		else if (field === 'data') this.#data.push(value);
		return undefined;
	}
}

/** The events of one connection, until it ends. */
export async function* readEvents(stream: Readable): AsyncGenerator<ServerEvent> {
	const parser = new EventParser();
	for await (const chunk of stream.setEncoding('utf8')) yield* parser.push(String(chunk));
}
