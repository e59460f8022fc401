// A secret on its way through the host: it shows itself to nobody who does not ask for it by name. Made by state/secret
// and by the parsers of requests; a log line, a template string or JSON.stringify of one yields a placeholder.
import { inspect } from 'node:util';

const PLACEHOLDER = '[secret]';

export class SecretValue {
	readonly #text: string;

	constructor(text: string) {
		this.#text = text;
	}

	/** The value itself. Call it where it is written to a secrets file or put into an upstream request, nowhere else. */
	reveal(): string {
		return this.#text;
	}

	toString(): string {
		return PLACEHOLDER;
	}

	toJSON(): string {
		return PLACEHOLDER;
	}

	[Symbol.toPrimitive](): string {
		return PLACEHOLDER;
	}

	[inspect.custom](): string {
		return PLACEHOLDER;
	}
}
