// What every benchmark gets: a platform of its own, an operator's key, and a first-byte probe over one kept connection. Made by main.ts.
import { Agent, request } from 'node:http';
import type { TestPlatform } from '../test/support/platform.ts';
import type { Figure } from './report.ts';

export interface Bench {
	readonly platform: TestPlatform;
	/** The webhook's secret of every deploy here. */
	readonly secret: string;
	/** Of an operator, for the public door. */
	readonly key: string;
	readonly edgePort: number;
	/** Divides the number of rounds; `--quick` makes it 4. */
	readonly haste: number;
	readonly say: (text: string) => void;
	readonly found: (figure: Figure) => void;
}

/** At least three. */
export const rounds = (bench: Bench, full: number): number => Math.max(3, Math.round(full / bench.haste));

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

/** Milliseconds from the request to the first byte of its answer; rejects when that is no 2xx. */
export function firstByte(bench: Bench, path: string): Promise<number> {
	const { promise, resolve, reject } = Promise.withResolvers<number>();
	const began = performance.now();
	const headers = { authorization: `Bearer ${bench.key}` };
	const sent = request({ agent, host: '127.0.0.1', port: bench.edgePort, path, headers }, (answer) => {
		const ms = performance.now() - began;
		let body = '';
		answer.setEncoding('utf8').on('data', (text: string) => {
			body += text;
		});
		answer.on('end', () => {
			const status = answer.statusCode ?? 0;
			if (status >= 200 && status < 300) resolve(ms);
			else reject(new Error(`${path} answered ${status}: ${body.slice(0, 500)}`));
		});
	});
	sent.on('error', reject);
	sent.end();
	return promise;
}

/** Lets the host's own afterwork (write-back of swap, Postgres' checkpoints) come to rest between two rounds. */
export const settle = (ms = 300): Promise<void> => new Promise((done) => setTimeout(done, ms));
