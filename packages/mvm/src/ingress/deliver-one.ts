// One delivery attempt of one claimed message: wake the instance, send the request, judge the answer. Called by the
// delivery loop; changes no row itself. Never throws but for the end of the process.

import { randomBytes } from 'node:crypto';
import { type InstanceId, MvmError, type WakeOutcome } from '@mvm/protocol';
import type { Acquirer } from '../orchestrator/index.ts';
import type { ClaimedMessage } from '../state/index.ts';
import type { Channel, LoadChannel } from './channel.ts';
import { requestOverDuplex } from './http-over-duplex.ts';
import { judgeAnswer, judgeError, type Verdict } from './verdict.ts';

export interface DeliverOneDeps {
	readonly orchestrator: Acquirer;
	readonly loadChannel: LoadChannel;
	readonly random: () => number;
	/** How long a wake and how long the agent's answer may take. */
	readonly holdDeadlineMs: number;
	readonly answerDeadlineMs: number;
}

export interface Attempt {
	readonly verdict: Verdict;
	/** Absent when no instance was reached. */
	readonly instanceId?: InstanceId;
	readonly incarnation?: number;
	readonly wake?: WakeOutcome;
	/** Status of the agent's answer; absent when there was none. */
	readonly status?: number;
}

const MAX_ANSWER_BYTES = 64 * 1024;

export async function deliverOne(
	deps: DeliverOneDeps,
	message: ClaimedMessage,
	options: { signal: AbortSignal },
): Promise<Attempt> {
	let reached: Omit<Attempt, 'verdict'> = {};
	try {
		const channel = await deps.loadChannel(message.tenantId, message.channel);
		if (channel === undefined || channel.poolId !== message.poolId) {
			throw new MvmError('CHANNEL_NOT_FOUND', `pool ${message.poolId} declares no channel ${message.channel} any more`);
		}
		const waking = AbortSignal.any([options.signal, AbortSignal.timeout(deps.holdDeadlineMs)]);
		await using lease = await deps.orchestrator.acquire(
			{
				tenantId: message.tenantId,
				poolId: message.poolId,
				orderKey: message.orderKey,
				why: 'ingress',
				traceId: message.traceId,
			},
			{ signal: waking },
		);
		reached = { instanceId: lease.instanceId, incarnation: lease.incarnation, wake: lease.wake };
		const signal = AbortSignal.any([options.signal, AbortSignal.timeout(deps.answerDeadlineMs)]);
		const stream = await lease.forward(channel.guestPort, { signal });
		const answer = await requestOverDuplex(
			stream,
			{
				method: 'POST',
				path: channel.path + message.path,
				headers: requestHeaders(channel, message),
				body: message.body,
				port: channel.guestPort,
			},
			{ signal, maxBodyBytes: MAX_ANSWER_BYTES },
		);
		return { ...reached, status: answer.status, verdict: judgeAnswer(answer, channel.proof, message.attempts, deps.random()) };
	} catch (error) {
		if (options.signal.aborted) {
			return { ...reached, verdict: { kind: 'park', delayMs: 0, error: 'the platform is stopping', overQuota: false } };
		}
		return { ...reached, verdict: judgeError(timeoutAsError(error), message.attempts, deps.random()) };
	}
}

/** The stored headers, the sender's secret as it is now, and what the platform pins. */
function requestHeaders(channel: Channel, message: ClaimedMessage): Record<string, string> {
	const secret = channel.check.kind === 'header' ? { [channel.check.header.toLowerCase()]: channel.check.secret } : {};
	return {
		...message.headers,
		...secret,
		'x-tenant-id': message.tenantId,
		traceparent: `00-${message.traceId}-${randomBytes(8).toString('hex')}-01`,
	};
}

function timeoutAsError(error: unknown): unknown {
	if (!(error instanceof Error) || error.name !== 'TimeoutError') return error;
	return new MvmError('TIMEOUT', 'the delivery did not finish in time', { cause: error });
}
