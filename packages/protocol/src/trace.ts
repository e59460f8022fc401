// W3C Trace Context: the header `traceparent`. Pure; random bytes are the caller's.
import { MvmError } from './errors/mvm-error.ts';
import { hex } from './ids.ts';

export interface TraceParent {
	/** 32 lower-case hex digits, not all zero. */
	readonly traceId: string;
	/** 16 lower-case hex digits, not all zero. */
	readonly spanId: string;
	readonly sampled: boolean;
}

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** The trace of a header, or nothing when it is absent or not valid (then a new trace starts). */
export function parseTraceparent(header: string | undefined): TraceParent | undefined {
	const [, version, traceId, spanId, flags, more] = FORM.exec(header?.trim() ?? '') ?? [];
	if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return undefined;
	// ff is forbidden; version 00 ends after the flags, later ones may go on.
	if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
	if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
	return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function formatTraceparent(trace: TraceParent): string {
	return `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? '01' : '00'}`;
}

/** A new trace from 24 random bytes. */
export function newTrace(random: Uint8Array): TraceParent {
	return { traceId: nonZero(hex(random, 16)), spanId: nonZero(hex(random.subarray(16), 8)), sampled: true };
}

/** The same trace with a new span from 8 random bytes: what is passed on to the next part. */
export function childOf(trace: TraceParent, random: Uint8Array): TraceParent {
	return { ...trace, spanId: nonZero(hex(random, 8)) };
}

function nonZero(id: string): string {
	if (/^0+$/.test(id)) throw new MvmError('INTERNAL', 'the random source gave only zeros');
	return id;
}
