// Port 54 without an endpoint: what any process in an instance may tell its host. The instance is known by its link; nothing in a
// request names it. Tasks, tools and secret resolution join here with their services.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type InstanceId, isMvmError, MvmError, toProblem } from '@mvm/protocol';
import * as z from 'zod/mini';
import { serveStreams } from './http-over-stream.ts';

const MAX_BODY_BYTES = 64 * 1024;
const IDLE_MS = 60_000;

const ArtifactReport = z.strictObject({
	name: z.string().check(z.minLength(1), z.maxLength(255)),
	kind: z.string().check(z.regex(/^[a-z0-9][a-z0-9_-]{0,62}$/)),
	bytes: z.number().check(z.int(), z.nonnegative()),
	sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
});
export type ArtifactReport = z.infer<typeof ArtifactReport>;

export interface InstanceApiDeps {
	/** Stores the report as an event of the instance. */
	readonly onArtifact: (instance: InstanceId, report: ArtifactReport) => Promise<void>;
	/** At most so many reports a minute from one instance. */
	readonly isRateLimited: (instance: InstanceId) => boolean;
}

/** Returns the handler for raw streams of port 54. */
export function makeInstanceApiHandler(deps: InstanceApiDeps): (stream: Duplex, from: { instanceId: InstanceId }) => void {
	return serveStreams<{ instanceId: InstanceId }>({ idleMs: IDLE_MS }, async (request, response, { instanceId }) => {
		try {
			if (request.method === 'GET' && request.url === '/healthz')
				return send(response, 200, { status: 'ok', instance_id: instanceId });
			if (request.method !== 'POST' || request.url !== '/v1/artifacts') {
				throw new MvmError('NOT_FOUND', `the instance API has no ${request.method} ${request.url}`);
			}
			if (deps.isRateLimited(instanceId)) throw new MvmError('RATE_LIMITED', 'too many reports from this instance');
			await deps.onArtifact(instanceId, parseReport(await readBody(request)));
			send(response, 202, { accepted: true });
		} catch (error) {
			const problem = toProblem(
				isMvmError(error) ? error : new MvmError('INTERNAL', 'the report was not stored', { cause: error }),
			);
			send(response, problem.status, problem);
		}
	});
}

function parseReport(text: string): ArtifactReport {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (cause) {
		throw new MvmError('INVALID_DOCUMENT', 'the body is not JSON', { cause });
	}
	const parsed = ArtifactReport.safeParse(value);
	if (parsed.success) return parsed.data;
	const problems = parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }));
	throw new MvmError('INVALID_DOCUMENT', 'not an artifact report', {
		details: { problems },
		hint: 'send name, kind, bytes and sha256',
	});
}

async function readBody(request: IncomingMessage): Promise<string> {
	const chunks: Buffer[] = [];
	let bytes = 0;
	for await (const chunk of request as AsyncIterable<Buffer>) {
		bytes += chunk.length;
		if (bytes > MAX_BODY_BYTES) throw new MvmError('BODY_TOO_LARGE', `at most ${MAX_BODY_BYTES} bytes`);
		chunks.push(chunk);
	}
	return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, body: unknown): void {
	response.writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json' });
	response.end(JSON.stringify(body));
}
