// The host's time inside a guest that cannot set its clock: an offset, learnt with PostRestore.
const IGNORED_MS = 500;

export interface HostTime {
	/** Epoch milliseconds. */
	now(): number;
	/** What to add to this machine's clock, in milliseconds; 0 when they agree within half a second. */
	offsetMs(): number;
	/** The host says it is `nowMs`. */
	step(nowMs: number): void;
}

export function makeHostTime(): HostTime {
	let offset = 0;
	return {
		now: () => Date.now() + offset,
		offsetMs: () => offset,
		step: (nowMs) => {
			const difference = Math.round(nowMs - Date.now());
			offset = Math.abs(difference) < IGNORED_MS ? 0 : difference;
		},
	};
}

/** RFC 3339 in UTC, to the second, as the reference writes it. */
export const utc = (ms: number): string => new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
