// Follows the platform's log files as they grow: every JSON line once, past ones included. Watches the file system and looks again
// at a slow beat, since a watch may miss what a bind mount or a full queue hides.
import { closeSync, existsSync, openSync, readSync, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';

export type LogLine = Readonly<Record<string, unknown>>;
const LOOK_MS = 50;

export class LogFollower {
	readonly lines: LogLine[] = [];
	readonly #path: string;
	readonly #listeners = new Set<(line: LogLine) => void>();
	readonly #stop: () => void;
	#offset = 0;
	#rest = '';

	constructor(path: string) {
		this.#path = path;
		const watcher = watch(dirname(path), () => this.look());
		watcher.on('error', () => {});
		const timer = setInterval(() => this.look(), LOOK_MS).unref();
		this.#stop = () => {
			watcher.close();
			clearInterval(timer);
		};
	}

	/** Called for every line from now on. */
	on(listener: (line: LogLine) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** Reads what came since the last look. */
	look(): void {
		if (!existsSync(this.#path)) return;
		const { size } = statSync(this.#path);
		if (size <= this.#offset) return;
		const bytes = Buffer.alloc(size - this.#offset);
		const fd = openSync(this.#path, 'r');
		const read = readSync(fd, bytes, 0, bytes.length, this.#offset);
		closeSync(fd);
		this.#offset += read;
		const parts = (this.#rest + bytes.subarray(0, read).toString('utf8')).split('\n');
		this.#rest = parts.pop() ?? '';
		for (const part of parts) {
			const line = parse(part);
			this.lines.push(line);
			for (const listener of this.#listeners) listener(line);
		}
	}

	close(): void {
		this.look();
		this.#stop();
	}
}

function parse(text: string): LogLine {
	try {
		return JSON.parse(text) as LogLine;
	} catch {
		return { msg: text };
	}
}
