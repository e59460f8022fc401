// The command line's contact with the outside: standard output for data, standard error for words and progress, a question
// on a terminal. The real one is made in main.ts; tests bring a recorded one.
import { createInterface } from 'node:readline/promises';

export interface Io {
	/** Data, as it is. */
	out(text: string): void;
	/** Words for people, one line. */
	say(line: string): void;
	/** Replaces the progress line on a terminal; does nothing elsewhere. An empty text removes it. */
	progress(line: string): void;
	/** Undefined when nobody can be asked. */
	readonly ask: ((question: string) => Promise<string>) | undefined;
}

interface Streams {
	readonly stdin: NodeJS.ReadStream;
	readonly stdout: NodeJS.WriteStream;
	readonly stderr: NodeJS.WriteStream;
}

export function terminalIo({ stdin, stdout, stderr }: Streams): Io {
	let hasProgress = false;
	const clear = (): void => {
		if (hasProgress) stderr.write('\r\x1b[2K');
		hasProgress = false;
	};
	const canAsk = stdin.isTTY && stderr.isTTY;
	return {
		out(text) {
			clear();
			stdout.write(text);
		},
		say(line) {
			clear();
			stderr.write(`${line}\n`);
		},
		progress(line) {
			if (!stderr.isTTY) return;
			clear();
			if (line === '') return;
			// Text of a build is the build's: control characters stay out of the terminal.
			stderr.write(line.replaceAll(/[\x00-\x1f\x7f]/g, ' ').slice(0, Math.max(20, (stderr.columns ?? 80) - 1)));
			hasProgress = true;
		},
		ask: canAsk
			? async (question) => {
					clear();
					const reader = createInterface({ input: stdin, output: stderr });
					try {
						return await reader.question(question);
					} finally {
						reader.close();
					}
				}
			: undefined,
	};
}
