// Decides what one delivery attempt means: pure, a table over answers and errors. Called by the delivery; the bounds of
// its retry loop are written here.
import { isMvmError } from '@mvm/protocol';
import { type BackOff, DELIVERY_RETRY, decideRetry } from '../domain/retry.ts';
import type { DeliveryProof } from './channel.ts';
import type { GuestAnswer } from './http-over-duplex.ts';

export type Verdict =
	| { readonly kind: 'taken' }
	/** Counts as an attempt; another follows after `delayMs`. */
	| { readonly kind: 'retry'; readonly delayMs: number; readonly error: string }
	/** Not the message's fault: waits without counting. */
	| { readonly kind: 'park'; readonly delayMs: number; readonly error: string; readonly overQuota: boolean }
	| { readonly kind: 'dead'; readonly error: string };

/** An answer of 4xx seldom gets better: fewer attempts than for failures on the way. */
const REFUSED: BackOff = { ...DELIVERY_RETRY, maxAttempts: 3 };
const REFUSED_FOR_NOW: BackOff = { ...DELIVERY_RETRY, maxAttempts: 8 };
/** Client errors that a later attempt may not see again. */
const PASSING_STATUS = new Set([401, 403, 404, 408, 409, 423, 425, 429]);

/** Codes that say "not now" about the tenant or the instance, with how long to wait; lifting them pokes the loop earlier. */
const PARKED: Readonly<Record<string, number>> = {
	TENANT_SUSPENDED: 30_000,
	QUOTA_EXCEEDED: 2_000,
	NEEDS_ATTENTION: 30_000,
	RATE_LIMITED: 5_000,
	STORE_UNAVAILABLE: 1_000,
	HOSTD_UNAVAILABLE: 1_000,
};
const GONE = ['TENANT_NOT_FOUND', 'POOL_NOT_FOUND', 'CHANNEL_NOT_FOUND'] as const;

/** What the instance's answer means. Only a 2xx with the declared header is proof. */
export function judgeAnswer(answer: GuestAnswer, proof: DeliveryProof | undefined, attempts: number, random: number): Verdict {
	const isSuccess = answer.status >= 200 && answer.status < 300;
	if (isSuccess && (proof === undefined || answer.headers[proof.header.toLowerCase()] === proof.equals)) return { kind: 'taken' };
	const error = isSuccess
		? `status ${answer.status} without the header ${proof?.header}: ${proof?.equals}`
		: `status ${answer.status}`;
	const isRefusal = answer.status >= 400 && answer.status < 500;
	const refusal = PASSING_STATUS.has(answer.status) ? REFUSED_FOR_NOW : REFUSED;
	return nextAttempt(isRefusal ? refusal : DELIVERY_RETRY, { attempts, error, random });
}

/** What a failure before or during the exchange means. */
export function judgeError(error: unknown, attempts: number, random: number): Verdict {
	const text = error instanceof Error ? error.message : String(error);
	if (isMvmError(error)) {
		const parkedMs = PARKED[error.code];
		const named = `${error.code}: ${text}`;
		if (parkedMs !== undefined)
			return { kind: 'park', delayMs: parkedMs, error: named, overQuota: error.code === 'QUOTA_EXCEEDED' };
		if (GONE.some((code) => code === error.code)) return { kind: 'dead', error: named };
		return nextAttempt(DELIVERY_RETRY, { attempts, error: named, random });
	}
	return nextAttempt(DELIVERY_RETRY, { attempts, error: text, random });
}

function nextAttempt(policy: BackOff, input: { attempts: number; error: string; random: number }): Verdict {
	const retry = decideRetry(policy, input.attempts, input.random);
	if (retry.kind === 'give_up') return { kind: 'dead', error: `${input.error} (attempt ${retry.attempts}, the last)` };
	return { kind: 'retry', delayMs: retry.delayMs, error: input.error };
}
