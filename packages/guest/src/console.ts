// Everything the instance says: the agent's own lines as JSON, the workload's with a prefix. One file on the host holds both, so
// a workload that floods is cut by the second, and the cut is said.
import type { Log } from './adapter.ts';

const MAX_LINE_CHARS = 8192;
const MAX_CHARS_PER_SEC = 256 * 1024;

export interface Console {
	readonly log: Log;
	/** One line of the workload or of a command, without its line feed. */
	readonly line: (source: string, line: string) => void;
}

export function makeConsole(options: { readonly write: (text: string) => void; readonly now: () => number }): Console {
	let second = 0;
	let written = 0;
	let dropped = 0;
	const write = (text: string): void => {
		try {
			options.write(`${text}\n`);
		} catch {
			// A full disk, or nobody who reads, must not end the supervisor; the line is lost.
		}
	};
	return {
		log: (level, message, keys = {}) =>
			write(JSON.stringify({ time: new Date(options.now()).toISOString(), level, msg: message, ...keys })),
		line: (source, line) => {
			const now = Math.floor(options.now() / 1000);
			if (now !== second) {
				if (dropped > 0) write(`mvm| ${dropped} lines left out`);
				second = now;
				written = 0;
				dropped = 0;
			}
			const text = line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS)}…` : line;
			written += text.length;
			if (written > MAX_CHARS_PER_SEC) dropped += 1;
			else write(`${source}| ${text}`);
		},
	};
}

/** Cuts a byte stream into lines; a line without an end is cut at the limit. */
export function lineSplitter(onLine: (line: string) => void): { push(chunk: Buffer): void; end(): void } {
	const decoder = new TextDecoder();
	let rest = '';
	const take = (text: string): void => {
		const lines = (rest + text).split('\n');
		rest = lines.pop() ?? '';
		for (const line of lines) onLine(line);
		while (rest.length > MAX_LINE_CHARS) {
			onLine(rest.slice(0, MAX_LINE_CHARS));
			rest = rest.slice(MAX_LINE_CHARS);
		}
	};
	return {
		push: (chunk) => take(decoder.decode(chunk, { stream: true })),
		end: () => {
			take(decoder.decode());
			if (rest !== '') onLine(rest);
			rest = '';
		},
	};
}
