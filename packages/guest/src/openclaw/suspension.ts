// OpenClaw's cooperative suspension as the platform uses it: wait for turns, take the lease, drain what is left, renew, resume. Used
// by the checkpoint and suspend commands and by the agent's adapter. Constant request ids make every prepare a renewal of the same
// lease, so nothing has to be remembered across processes, a crash of the agent or a thaw.
//
//   wait: inbound events, turns, replies ──► gentle prepare ──ready──────────────────────────────────► ready
//        ▲                                     │ busy with turns            │ busy with background    ▲
//        └─────────────────────────────────────┘                            └──► drain prepare ──poll─┘
import { setTimeout as delay } from 'node:timers/promises';
import { type GatewayConnection, GatewayError } from './gateway-client.ts';

// Measured with 2026.9.6: a drain that begins between a turn's acceptance and its admission refuses the turn, and the person is told
// that the gateway restarts. The gentle form refuses instead of draining, so it comes first, and a drain only when no turn is left.
const GENTLE = { requestId: 'mvm-sleep', terminalPolicy: 'preserve', drain: false } as const;
const DRAIN = { requestId: 'mvm-sleep-drain', terminalPolicy: 'preserve', drain: true } as const;
type Request = typeof GENTLE | typeof DRAIN;

/** Kinds of work that are not somebody's turn and may be drained; everything else, unknown kinds included, is waited for. */
const BACKGROUND = new Set(['background-exec', 'cron-run', 'task', 'terminal-session']);
/** A lease lasts two minutes; renewing at half of that leaves room for one failed try. */
const RENEW_WHEN_LEFT_MS = 60_000;
/** Polling is cheap; preparing is limited by the gateway to 30 a minute. */
const POLL_MS = 200;
const PREPARE_AGAIN_MS = 2_500;

export interface Blocker {
	readonly kind: string;
	readonly count: number;
	readonly message: string;
}
export type Prepared =
	| { readonly state: 'ready'; readonly suspensionId: string; readonly expiresAtMs: number }
	/** The budget ran out; nothing is held any more. */
	| { readonly state: 'busy'; readonly blockers: readonly Blocker[] };
export interface PrepareOptions {
	/** How long turns and other work may take to finish. */
	readonly budgetMs: number;
	/** What has to be over before admission closes: stored inbound events, turns, replies on their way. */
	readonly conversations: (options: { signal: AbortSignal }) => Promise<readonly Blocker[]>;
	readonly signal: AbortSignal;
	readonly now?: () => number;
}
interface Lease {
	readonly id: string;
	readonly expiresAtMs: number;
	readonly request: Request;
}
type Step =
	| { readonly status: 'ready' | 'draining'; readonly lease: Lease; readonly blockers: readonly Blocker[] }
	| { readonly status: 'busy'; readonly blockers: readonly Blocker[]; readonly againMs: number };

/** Waits for conversations, closes admission, drains the rest; gives up at the budget's end and opens again. */
export async function prepareSuspension(gateway: GatewayConnection, options: PrepareOptions): Promise<Prepared> {
	const { signal } = options;
	const now = options.now ?? Date.now;
	const deadline = now() + options.budgetMs;
	let lease: Lease | null = null;
	const letGo = async (limit: AbortSignal): Promise<void> => {
		if (lease !== null && !gateway.closed) await resumeSuspension(gateway, { suspensionId: lease.id, signal: limit });
	};
	try {
		for (;;) {
			const step: Step = await nextStep(gateway, lease, options, now);
			lease = step.status === 'busy' ? null : step.lease;
			if (step.status === 'ready') {
				// What slipped in between the look at the conversations and the closing of admission is still to be answered.
				const late = await options.conversations({ signal });
				if (late.length === 0) return { state: 'ready', suspensionId: step.lease.id, expiresAtMs: step.lease.expiresAtMs };
				await letGo(signal);
				return { state: 'busy', blockers: late };
			}
			const left = deadline - now();
			if (left <= 0) {
				await letGo(signal);
				return { state: 'busy', blockers: step.blockers };
			}
			await delay(Math.min(step.status === 'busy' ? step.againMs : POLL_MS, left), undefined, { signal });
		}
	} catch (error) {
		await letGo(AbortSignal.timeout(5_000)).catch(() => undefined);
		throw error;
	}
}

/** Opens admission again. False when nothing was held: expired, resumed before, or a new process. */
export async function resumeSuspension(
	gateway: GatewayConnection,
	options: { suspensionId?: string; signal: AbortSignal },
): Promise<boolean> {
	const { signal } = options;
	if (options.suspensionId !== undefined) return resumeOne(gateway, options.suspensionId, signal);
	if (gateway.suspensionPhase === 'accepting') return false;
	// Without an id: renewing under our request ids tells it, whichever of our processes took the lease.
	for (const request of [GENTLE, DRAIN]) {
		const answer = await prepare(gateway, request, signal);
		if (answer.status === 'ready' || answer.status === 'draining') return resumeOne(gateway, answer.lease.id, signal);
	}
	return false;
}

async function resumeOne(gateway: GatewayConnection, suspensionId: string, signal: AbortSignal): Promise<boolean> {
	try {
		return (await gateway.call('gateway.suspend.resume', { suspensionId }, { signal }))['resumed'] === true;
	} catch (error) {
		if (error instanceof GatewayError && error.code === 'INVALID_REQUEST') return false;
		throw error;
	}
}

async function nextStep(
	gateway: GatewayConnection,
	lease: Lease | null,
	{ conversations, signal }: PrepareOptions,
	now: () => number,
): Promise<Step> {
	if (lease !== null) {
		if (lease.expiresAtMs - now() < RENEW_WHEN_LEFT_MS) return prepare(gateway, lease.request, signal);
		const payload = await gateway.call('gateway.suspend.status', { suspensionId: lease.id }, { signal });
		return readStep(payload, lease.request, lease.id);
	}
	const talking = await conversations({ signal });
	if (talking.length > 0) return { status: 'busy', blockers: talking, againMs: POLL_MS };
	const gentle = await prepare(gateway, GENTLE, signal);
	if (gentle.status !== 'busy') return gentle;
	// Only background work is left, or a drain of ours is already under way.
	return gentle.blockers.every(({ kind }) => BACKGROUND.has(kind) || kind === 'conflict')
		? prepare(gateway, DRAIN, signal)
		: gentle;
}

async function prepare(gateway: GatewayConnection, request: Request, signal: AbortSignal): Promise<Step> {
	try {
		return readStep(await gateway.call('gateway.suspend.prepare', request, { signal }), request, null);
	} catch (error) {
		// Another lease, a scheduler that recovers, a rate limit: the gateway says when to come again.
		if (!(error instanceof GatewayError) || !error.retryable || error.code === 'CLOSED' || error.code === 'UNREACHABLE')
			throw error;
		const kind = error.reason === 'gateway-suspension-conflict' ? 'conflict' : 'unavailable';
		const blockers = [{ kind, count: 1, message: error.message }];
		return { status: 'busy', blockers, againMs: Math.min(error.retryAfterMs ?? PREPARE_AGAIN_MS, PREPARE_AGAIN_MS) };
	}
}

/** `running` comes from a status call when the lease was lost: then everything starts over. */
function readStep(payload: Record<string, unknown>, request: Request, knownId: string | null): Step {
	const { status, suspensionId } = payload;
	const blockers = readBlockers(payload['blockers']);
	if (status === 'busy' || status === 'running') return { status: 'busy', blockers, againMs: PREPARE_AGAIN_MS };
	const id = typeof suspensionId === 'string' && suspensionId !== '' ? suspensionId : knownId;
	if ((status !== 'ready' && status !== 'draining') || id === null)
		throw new GatewayError('PROTOCOL', `unknown suspension status ${JSON.stringify(status)}`);
	return { status, blockers, lease: { id, expiresAtMs: Number(payload['expiresAtMs'] ?? 0), request } };
}

/** The gateway's list of what keeps it busy; anything malformed is left out. */
export function readBlockers(value: unknown): Blocker[] {
	if (!Array.isArray(value)) return [];
	return (value as unknown[]).flatMap((item) => {
		if (typeof item !== 'object' || item === null) return [];
		const { kind, count, message } = item as { kind?: unknown; count?: unknown; message?: unknown };
		return [{ kind: String(kind ?? 'unknown'), count: Number(count ?? 1), message: String(message ?? '').slice(0, 200) }];
	});
}

/** Whether this work is a person's turn (or unknown), which is waited for and never drained. */
export const isConversation = (blocker: Blocker): boolean => !BACKGROUND.has(blocker.kind);
