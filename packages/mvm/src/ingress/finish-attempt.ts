// Writes down what a delivery attempt came to, with its event and its log line. Called by the delivery loop. A message
// that the instance has must not be delivered again for want of a row, so the write is repeated while the claim lasts.
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.ts';
import { type ClaimedMessage, type Database, markDead, markTaken, markWaiting, type Tx } from '../state/index.ts';
import type { Attempt } from './deliver-one.ts';

export interface DeliveryEvent {
	readonly kind: 'ingress.taken' | 'ingress.retry' | 'ingress.parked' | 'ingress.dead';
	readonly message: ClaimedMessage;
	readonly attempt: Attempt;
}

export interface FinishDeps {
	readonly database: Database;
	readonly clock: Clock;
	readonly log: Logger;
	readonly claim: string;
	/** Writes the event (and, for a dead letter, the audit record) in the same transaction. */
	readonly record: (tx: Tx, event: DeliveryEvent) => Promise<void>;
	readonly onOutcome?: ((outcome: 'taken' | 'retry' | 'park' | 'dead', attempt: Attempt) => void) | undefined;
}

/** True when the lane may go on with its next message. */
export async function finishAttempt(deps: FinishDeps, message: ClaimedMessage, attempt: Attempt): Promise<boolean> {
	const { verdict } = attempt;
	const takenAtMs = deps.clock.now(); // the instance answered before this, so a later freeze contains it
	const stands = await deps.database.asSystem(
		async (tx) => {
			const changed = await write(tx, deps, message, attempt, takenAtMs);
			if (changed && !(verdict.kind === 'park' && message.attempts === 1 && verdict.delayMs === 0)) {
				await deps.record(tx, { kind: EVENT_KINDS[verdict.kind], message, attempt });
			}
			return changed;
		},
		{ idempotent: true },
	);
	deps.onOutcome?.(verdict.kind, attempt);
	logAttempt(deps.log, message, attempt, stands);
	return stands && (verdict.kind === 'taken' || verdict.kind === 'dead');
}

const EVENT_KINDS = {
	taken: 'ingress.taken',
	retry: 'ingress.retry',
	park: 'ingress.parked',
	dead: 'ingress.dead',
} as const;

function write(tx: Tx, deps: FinishDeps, message: ClaimedMessage, attempt: Attempt, takenAtMs: number): Promise<boolean> {
	const row = { id: message.id, claim: deps.claim };
	const { verdict } = attempt;
	switch (verdict.kind) {
		case 'taken':
			if (attempt.instanceId === undefined || attempt.incarnation === undefined) throw new TypeError('taken by nobody');
			return markTaken(tx, { ...row, instanceId: attempt.instanceId, incarnation: attempt.incarnation, takenAtMs });
		case 'retry':
		case 'park':
			return markWaiting(tx, { ...row, delayMs: verdict.delayMs, error: verdict.error, isParked: verdict.kind === 'park' });
		case 'dead':
			return markDead(tx, { ...row, error: verdict.error });
	}
}

function logAttempt(log: Logger, message: ClaimedMessage, attempt: Attempt, stands: boolean): void {
	const { verdict } = attempt;
	const keys = {
		tenant_id: message.tenantId,
		pool_id: message.poolId,
		instance_id: attempt.instanceId,
		trace_id: message.traceId,
		message_id: message.id,
		event_id: message.eventId,
		channel: message.channel,
		attempt: message.attempts,
		redelivery: message.attempts > 1,
		wake: attempt.wake?.outcome,
		wake_ms: attempt.wake?.totalMs,
		status: attempt.status,
	};
	if (!stands) log.warn({ ...keys, verdict: verdict.kind }, 'claim was lost, message may be delivered twice');
	else if (verdict.kind === 'taken') log.info(keys, 'message taken');
	else if (verdict.kind === 'dead') log.error({ ...keys, err: new Error(verdict.error) }, 'message is a dead letter');
	else log.warn({ ...keys, reason: verdict.error, retry_in_ms: verdict.delayMs }, 'message not delivered');
}
