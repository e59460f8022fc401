// Which failures of the store may be tried again, how often and after how long: one table. Used by database.ts only.
// The bound of every retry loop in state/ is `attempts` of its row.
import { isMvmError, MvmError } from '@mvm/protocol';

/**
 * How far a unit had come when it failed.
 * `connecting`: nothing was sent. `running`: begun, commit not sent, so the server has undone it or will.
 * `committing`: commit was sent and its answer never came, so nobody knows.
 */
export type Phase = 'connecting' | 'running' | 'committing';

interface RetryRule {
	readonly minDelayMs: number;
	readonly maxDelayMs: number;
	/** Tries in all, the first one included. */
	readonly attempts: number;
}

/** The unit was undone by the server because of another one: try again at once. */
const COLLISION: RetryRule = { minDelayMs: 2, maxDelayMs: 100, attempts: 8 };
/** The server is away or not yet up. The sum of the delays (about 6 s) is longer than a restart of the embedded one. */
const AWAY: RetryRule = { minDelayMs: 20, maxDelayMs: 1_000, attempts: 11 };
/** The server is up and full. */
const CROWDED: RetryRule = { minDelayMs: 50, maxDelayMs: 500, attempts: 6 };

/** SQLSTATE or errno → rule. What is not here is not tried again. */
const RULES: Readonly<Record<string, RetryRule>> = {
	'40001': COLLISION, // serialization_failure
	'40P01': COLLISION, // deadlock_detected
	'08000': AWAY, // connection_exception
	'08001': AWAY,
	'08003': AWAY,
	'08004': AWAY,
	'08006': AWAY, // connection_failure
	'57P01': AWAY, // admin_shutdown
	'57P02': AWAY, // crash_shutdown
	'57P03': AWAY, // cannot_connect_now (starting up or recovering)
	'53300': CROWDED, // too_many_connections
	ECONNREFUSED: AWAY,
	ECONNRESET: AWAY,
	ENOENT: AWAY, // no socket file yet
	EPIPE: AWAY,
	ETIMEDOUT: AWAY,
	ENOTFOUND: AWAY,
	EAI_AGAIN: AWAY,
	CONNECTION_LOST: AWAY, // node-postgres reports these without a code
};

const SQLSTATE = /^[0-9A-Z]{5}$/;
const CONNECTION_CALLS = new Set(['connect', 'read', 'write', 'getaddrinfo']);

/** SQLSTATE or errno of a store failure; `CONNECTION_LOST` for node-postgres' own messages; undefined for anything else. */
export function failureCode(error: unknown): string | undefined {
	if (typeof error !== 'object' || error === null || isMvmError(error)) return undefined;
	const { code, message, syscall } = error as { code?: unknown; message?: unknown; syscall?: unknown };
	// A unit may fail with an errno of its own (a file); only those of the connection's calls are the store's.
	if (typeof code === 'string') return SQLSTATE.test(code) || CONNECTION_CALLS.has(String(syscall)) ? code : undefined;
	const text = typeof message === 'string' ? message : '';
	return /Connection terminated|connection error|not queryable|timeout exceeded when trying to connect/.test(text)
		? 'CONNECTION_LOST'
		: undefined;
}

/** True when the connection is of no further use. */
export function isConnectionLost(error: unknown): boolean {
	const rule = RULES[failureCode(error) ?? ''];
	return rule === AWAY || rule === CROWDED;
}

/**
 * Milliseconds to wait before the next try, or undefined when there must be none. A collision and a lost connection
 * before commit have changed nothing; after commit was sent only an idempotent unit may run again.
 */
export function retryDelayMs(
	error: unknown,
	at: { readonly phase: Phase; readonly attempt: number; readonly idempotent: boolean; readonly random: number },
): number | undefined {
	const rule = RULES[failureCode(error) ?? ''];
	if (rule === undefined || at.attempt >= rule.attempts) return undefined;
	if (at.phase === 'committing' && rule !== COLLISION && !at.idempotent) return undefined;
	const ceiling = Math.min(rule.maxDelayMs, rule.minDelayMs * 2 ** (at.attempt - 1));
	return rule.minDelayMs + Math.floor((ceiling - rule.minDelayMs) * (0.5 + at.random / 2));
}

/** The platform's name for a store failure; anything else comes back as it is. */
export function asStoreError(error: unknown, phase: Phase): unknown {
	const code = failureCode(error);
	if (code === undefined) return error;
	if (code === '53100') {
		return new MvmError('DISK_FULL', 'the database has no room left on its disk; nothing was changed', {
			details: { sqlstate: code },
			hint: 'free space on the file system that holds the data directory; the database goes on by itself',
			cause: error,
		});
	}
	if (isConnectionLost(error)) {
		const unknown = phase === 'committing';
		return new MvmError(
			'STORE_UNAVAILABLE',
			unknown
				? 'the database went away during a commit: the change may or may not have been made'
				: 'the database does not answer',
			{
				details: { cause: code, outcome: unknown ? 'unknown' : 'unchanged' },
				hint: 'it is tried again by itself; see postgres.log in the data directory when it stays away',
				cause: error,
			},
		);
	}
	if (code === '57014' || code === '55P03' || code === '25P03') {
		return new MvmError('STORE_UNAVAILABLE', 'the database did not finish in time; nothing was changed', {
			details: { cause: code, outcome: 'unchanged' },
			cause: error,
		});
	}
	if (code === '58030' || code === '53200' || code === 'XX001' || code === 'XX002') {
		return new MvmError('STORE_UNAVAILABLE', 'the database reports a failing disk or memory; nothing was changed', {
			details: { cause: code, outcome: 'unchanged' },
			hint: 'see postgres.log in the data directory',
			cause: error,
		});
	}
	return error;
}
