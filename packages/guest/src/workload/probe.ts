// Looks once whether the workload is ready: an HTTP answer below 400 on a loopback port.
import { get } from 'node:http';

const ANSWER_MS = 2_000;

/** Why it is not ready, or nothing. */
export function probe(ready: { readonly port: number; readonly path: string }, signal: AbortSignal): Promise<string | undefined> {
	return new Promise((resolve) => {
		const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
		const request = get({ host: '127.0.0.1', port: ready.port, path: ready.path, agent: false, signal: limit }, (response) => {
			const status = response.statusCode ?? 0;
			response.destroy();
			resolve(status >= 200 && status < 400 ? undefined : `GET ${ready.path} answered ${status}`);
		});
		request.on('error', (error: NodeJS.ErrnoException) => resolve(limit.aborted ? 'no answer' : (error.code ?? error.message)));
	});
}
