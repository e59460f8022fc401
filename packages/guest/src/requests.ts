// Port 52: one framed request, one framed answer per stream; `Forward` then turns the stream raw. Never silent: what cannot be
// done is an Error frame. Many at a time, each with its own deadline.
import type { Duplex } from 'node:stream';
import {
	decodeGuestRequest,
	encodeFrame,
	encodeGuestResponse,
	FrameParser,
	type GuestRequest,
	type GuestResponse,
} from '@mvm/protocol';
import type { Activity } from './activity.ts';
import type { Log, WorkloadAdapter } from './adapter.ts';
import { utc } from './host-time.ts';
import type { IdentityHolder } from './identity.ts';
import type { Integrations } from './integrations/manager.ts';
import { connectLoopback, forwardRefusal } from './link/forward.ts';
import type { Rest } from './rest.ts';
import { splice } from './splice.ts';
import type { Workload } from './workload/supervisor.ts';

const REQUEST_MS = 10_000;
/** From the end of what the workload sends to the end of the stream. */
const LINGER_MS = 3_000;
const MAX_MESSAGE_CHARS = 4000;

export interface RequestDeps {
	readonly activity: Activity;
	readonly adapter: WorkloadAdapter;
	readonly integrations: Integrations;
	readonly workload: Workload;
	readonly rest: Rest;
	readonly identity: IdentityHolder;
	readonly log: Log;
	/** Ports the agent itself listens on: endpoints. */
	readonly agentPorts: ReadonlySet<number>;
}

/** Serves one stream to its end; never rejects. */
export async function serveRequest(deps: RequestDeps, stream: Duplex): Promise<void> {
	stream.on('error', () => {});
	const gone = new AbortController();
	stream.once('close', () => gone.abort());
	try {
		const { wire, rest } = await readRequest(stream);
		const request = decodeGuestRequest(wire);
		if (request.kind === 'Unknown') throw new Error(`unknown request ${request.tag}`);
		if (request.kind === 'Forward') await forward(deps, request.port, stream, rest);
		else answer(stream, await respond(deps, request, gone.signal));
	} catch (error) {
		answer(stream, { kind: 'Error', message: (error as Error).message.slice(0, MAX_MESSAGE_CHARS) });
	}
}

async function respond(
	deps: RequestDeps,
	request: Exclude<GuestRequest, { kind: 'Forward' }>,
	signal: AbortSignal,
): Promise<GuestResponse> {
	switch (request.kind) {
		case 'Ping':
			return { kind: 'Pong' };
		case 'WorkerStatus': {
			const reasons = await deps.activity.reasons(deps.adapter);
			return { kind: 'WorkerStatus', status: reasons.length > 0 ? 'busy' : 'idle', lastBusyAt: timeOf(deps.activity.lastAt) };
		}
		case 'SupervisorStatus': {
			const busyReasons = await deps.activity.reasons(deps.adapter);
			const { activity } = deps;
			return {
				kind: 'SupervisorStatus',
				workload: deps.workload.status(),
				inFlightForwards: activity.forwards,
				busyReasons,
				lastActivityAt: timeOf(activity.lastAt),
				incarnation: deps.identity.current().incarnation,
			};
		}
		case 'IntegrationStatus':
			return { kind: 'IntegrationStatusReport', integrations: await deps.integrations.reports(signal) };
		case 'CheckpointIntegrations':
			return { kind: 'CheckpointResult', ...(await deps.integrations.checkpoint(request.integrations, signal)) };
		case 'SleepPrep': {
			const outcome = await deps.rest.sleepPrep(request.drainTimeoutSecs, signal);
			return { kind: 'SleepPrepAck', success: outcome.ready, detail: outcome.ready ? null : outcome.reason };
		}
		case 'Wake':
			return { kind: 'WakeAck', success: await deps.rest.wake() };
		case 'PostRestore': {
			const refused = deps.rest.postRestore(request);
			return { kind: 'PostRestoreAck', success: refused === undefined, detail: refused ?? null };
		}
		case 'WorkloadToken':
			return { kind: 'WorkloadToken', token: deps.adapter.workloadToken?.() ?? null };
		default:
			return request satisfies never;
	}
}

async function forward(deps: RequestDeps, port: number, stream: Duplex, first: Uint8Array): Promise<void> {
	const refused = deps.rest.isHeld ? 'the instance is at rest' : forwardRefusal(port, deps.agentPorts);
	if (refused !== undefined) throw new Error(refused);
	const done = deps.activity.beginForward();
	let lingering: NodeJS.Timeout | undefined;
	try {
		const socket = await connectLoopback(port);
		if (stream.destroyed) return void socket.destroy();
		stream.write(encodeFrame(encodeGuestResponse({ kind: 'ForwardReady' })));
		if (first.length > 0) socket.write(first);
		// Who read the whole answer may forget to say goodbye; an instance must not stay awake for that.
		socket.once('end', () => {
			lingering = setTimeout(() => stream.destroy(), LINGER_MS);
		});
		await splice(stream, socket);
	} finally {
		clearTimeout(lingering);
		done();
	}
}

function answer(stream: Duplex, response: GuestResponse): void {
	if (stream.destroyed || stream.writableEnded) return;
	let frame: Uint8Array;
	try {
		frame = encodeFrame(encodeGuestResponse(response));
	} catch (error) {
		frame = encodeFrame(encodeGuestResponse({ kind: 'Error', message: `the answer does not fit: ${(error as Error).message}` }));
	}
	stream.end(frame);
	// Half a request may still be on its way; it must not hold the stream open.
	stream.resume();
}

function readRequest(stream: Duplex): Promise<{ wire: unknown; rest: Uint8Array }> {
	const { promise, resolve, reject } = Promise.withResolvers<{ wire: unknown; rest: Uint8Array }>();
	const parser = new FrameParser();
	const timer = setTimeout(() => finish(() => reject(new Error(`no request within ${REQUEST_MS} ms`))), REQUEST_MS);
	const finish = (settle: () => void): void => {
		clearTimeout(timer);
		stream.off('data', onData).off('end', onEnd).off('close', onEnd);
		stream.pause();
		settle();
	};
	const onEnd = (): void => finish(() => reject(new Error('the stream ended before its request')));
	const onData = (chunk: Buffer): void => {
		try {
			const [wire] = parser.push(chunk, { maxFrames: 1 });
			if (wire !== undefined) finish(() => resolve({ wire, rest: parser.rest() }));
		} catch (error) {
			finish(() => reject(error));
		}
	};
	stream.on('data', onData).on('end', onEnd).on('close', onEnd);
	return promise;
}

const timeOf = (ms: number | null): string | null => (ms === null ? null : utc(ms));
