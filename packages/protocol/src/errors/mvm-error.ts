// The one error class of the platform. Thrown for broken promises and I/O; outcomes people handle are return values.
import { ERRORS, type ErrorCode, type ErrorEntry } from './registry.ts';

export interface MvmErrorOptions {
	/** Facts a caller may show or log; JSON, snake_case keys, never a secret. */
	readonly details?: Readonly<Record<string, unknown>> | undefined;
	/** What the reader can do now, as one sentence. */
	readonly hint?: string | undefined;
	/** The error this one wraps; stays on this side of every wire. */
	readonly cause?: unknown;
}

/** An error with a stable code from the registry. */
export class MvmError<Code extends ErrorCode = ErrorCode> extends Error {
	readonly code: Code;
	readonly details: Readonly<Record<string, unknown>>;
	readonly hint: string | undefined;

	constructor(code: Code, message: string, options: MvmErrorOptions = {}) {
		super(message, options.cause === undefined ? undefined : { cause: options.cause });
		this.name = 'MvmError';
		this.code = code;
		this.details = options.details ?? {};
		this.hint = options.hint;
	}

	/** Status, exit code and the rest of what the registry says about this code. */
	get entry(): ErrorEntry {
		return ERRORS[this.code];
	}
}

/** True for an `MvmError` (also one of another copy of this package), and of that code when one is given. */
export function isMvmError<Code extends ErrorCode = ErrorCode>(error: unknown, code?: Code): error is MvmError<Code> {
	if (!(error instanceof Error) || error.name !== 'MvmError') return false;
	const found = (error as Error & { code?: unknown }).code;
	if (typeof found !== 'string' || !Object.hasOwn(ERRORS, found)) return false;
	return code === undefined || found === code;
}
