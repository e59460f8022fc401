// Writes answers on a raw HTTP response: JSON, and problems in the one form that every error of the edge has.
import type { ServerResponse } from 'node:http';
import { isMvmError, PROBLEM_CONTENT_TYPE, type Problem, toProblem } from '@mvm/protocol';

/** Seconds after which a client may try again, for the errors that pass by themselves. */
const RETRY_AFTER_SECS = 2;

/** Headers and body of an error's answer. */
export function problemAnswer(error: unknown, traceId: string): { problem: Problem; headers: Record<string, string> } {
	const problem = toProblem(error, { traceId });
	const headers: Record<string, string> = { 'content-type': PROBLEM_CONTENT_TYPE, 'cache-control': 'no-store' };
	if (problem.retryable) headers['retry-after'] = String(RETRY_AFTER_SECS);
	if (problem.status === 401) headers['www-authenticate'] = 'Bearer realm="mvm"';
	return { problem, headers };
}

/** Answers with the error, or breaks the connection off when an answer has begun. */
export function sendProblem(response: ServerResponse, error: unknown, traceId: string): void {
	if (response.headersSent || response.destroyed) {
		response.destroy();
		return;
	}
	const { problem, headers } = problemAnswer(error, traceId);
	const bytes = Buffer.from(`${JSON.stringify(problem)}\n`);
	// A body that was refused unread would be taken for the next request.
	const close = isMvmError(error, 'BODY_TOO_LARGE') || !response.req.complete ? { connection: 'close' } : {};
	response.writeHead(problem.status, { ...headers, ...close, 'content-length': bytes.byteLength });
	response.end(bytes);
}

export function sendJson(response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void {
	const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
	response.writeHead(status, {
		'content-type': 'application/json',
		'cache-control': 'no-store',
		'content-length': bytes.byteLength,
		...headers,
	});
	response.end(bytes);
}
