// `POST /in/<tenant>/<channel>/…`: hands a webhook to the accept path and answers what it came to. The channel's own
// secret is the check here; no API key is asked for and none is passed on.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { MvmError, type TenantId, TenantIdSchema } from '@mvm/protocol';
import type { Accepted, InboundMessage } from '../ingress/index.ts';
import { sendJson } from './answer.ts';
import { readBody } from './body.ts';

export interface IngressDoorDeps {
	/** Refuses by headers alone whom it can; called before the body is read. */
	readonly checkSender: (message: Omit<InboundMessage, 'body'>) => Promise<void>;
	readonly accept: (message: InboundMessage) => Promise<Accepted>;
	readonly maxBodyBytes: number;
	readonly onOutcome?: ((outcome: Accepted['outcome'] | 'refused') => void) | undefined;
}

const ADDRESS = /^\/in\/([^/?#]+)\/([^/?#]+)([^#]*)$/;
const CHANNEL = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** Throws what the accept path throws; answers 200 for stored and known messages, 202 for ones that have to wait. */
export async function serveIngress(
	deps: IngressDoorDeps,
	request: IncomingMessage,
	response: ServerResponse,
	traceId: string,
): Promise<void> {
	try {
		const [, tenant = '', channel = '', rest = ''] = ADDRESS.exec(request.url ?? '') ?? [];
		if (request.method !== 'POST') {
			throw new MvmError('UNAUTHENTICATED', 'a channel takes POST requests of its sender only');
		}
		if (!TenantIdSchema.safeParse(tenant).success || !CHANNEL.test(channel)) {
			throw new MvmError('UNAUTHENTICATED', 'no channel of this address takes this request');
		}
		// A slash at the end of the address is how people write it; it names nothing in the instance.
		const beyond = rest === '/' ? '' : rest;
		const message = { tenantId: tenant as TenantId, channel, rest: beyond, headers: request.headers, traceId };
		await deps.checkSender(message);
		const accepted = await deps.accept({ ...message, body: await readBody(request, deps.maxBodyBytes) });
		deps.onOutcome?.(accepted.outcome);
		const status = accepted.outcome === 'held' ? 202 : 200;
		sendJson(response, status, { accepted: true, outcome: accepted.outcome, event_id: accepted.eventId, trace_id: traceId });
	} catch (error) {
		deps.onOutcome?.('refused');
		throw error;
	}
}
