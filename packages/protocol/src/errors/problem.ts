// Errors on the HTTP wire: RFC 9457 problem+json with our code. The edge writes it, the SDK reads it back.
import * as z from 'zod/mini';
import { isMvmError, MvmError } from './mvm-error.ts';
import { ERRORS, isErrorCode } from './registry.ts';

/** Content type of a problem answer. */
export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

/** The body of every answer that is an error. */
export const ProblemSchema = z.object({
	/** `urn:mvm:error:<CODE>`. */
	type: z.string(),
	/** The registry's meaning; the same text for every occurrence. */
	title: z.string(),
	status: z.int(),
	/** This occurrence, for people. */
	detail: z.string(),
	code: z.string(),
	hint: z.optional(z.string()),
	retryable: z.boolean(),
	details: z._default(z.record(z.string(), z.unknown()), {}),
	trace_id: z.optional(z.string()),
});
export type Problem = z.output<typeof ProblemSchema>;

/** The problem document of an error. An error without a code becomes INTERNAL and tells nothing else; a cause never leaves. */
export function toProblem(error: unknown, context: { traceId?: string | undefined } = {}): Problem {
	const known = isMvmError(error) ? error : new MvmError('INTERNAL', 'An unexpected error; the log of the platform has it.');
	const { meaning, httpStatus, retryable } = ERRORS[known.code];
	return {
		type: `urn:mvm:error:${known.code}`,
		title: meaning,
		status: httpStatus,
		detail: known.message,
		code: known.code,
		...(known.hint === undefined ? {} : { hint: known.hint }),
		retryable,
		details: { ...known.details },
		...(context.traceId === undefined ? {} : { trace_id: context.traceId }),
	};
}

/** The error a problem document stands for. A code this version does not know becomes INTERNAL with it in `details.remote_code`. */
export function fromProblem(body: unknown, status?: number): MvmError {
	const parsed = ProblemSchema.safeParse(body);
	if (!parsed.success) {
		return new MvmError('INTERNAL', 'The server answered with an error that is not a problem document.', {
			details: status === undefined ? {} : { status },
		});
	}
	const { code, detail, details, hint, trace_id } = parsed.data;
	const all = trace_id === undefined ? details : { ...details, trace_id };
	if (isErrorCode(code)) return new MvmError(code, detail, { details: all, hint });
	return new MvmError('INTERNAL', detail, { details: { ...all, remote_code: code, status: parsed.data.status }, hint });
}
