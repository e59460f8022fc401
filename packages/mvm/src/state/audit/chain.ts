// The audit chain as data: what a record's hash covers and what makes a chain whole. Pure; used by the operations and by
// the offline check of an exported file, so that both agree.
import { createHash } from 'node:crypto';

/** In wire form, as exported: one JSON object per line. */
export interface AuditRecord {
	readonly tenant_id: string;
	/** 1, 2, 3, … without gaps. */
	readonly seq: number;
	/** RFC 3339, UTC, milliseconds. */
	readonly at: string;
	readonly actor: string;
	readonly action: string;
	readonly target: string;
	readonly outcome: string;
	readonly detail: unknown;
	readonly trace_id: string | null;
	/** Lower-case hex, as is `hash`. */
	readonly prev_hash: string;
}
export type HashedRecord = AuditRecord & { readonly hash: string };

/** What stands before the first record. */
export const GENESIS = '0'.repeat(64);

/** sha256 over the canonical JSON of everything but the hash. */
export function hashRecord(record: AuditRecord): string {
	const { tenant_id, seq, at, actor, action, target, outcome, detail, trace_id, prev_hash } = record;
	const covered = { tenant_id, seq, at, actor, action, target, outcome, detail, trace_id, prev_hash };
	return createHash('sha256').update(canonicalJson(covered), 'utf8').digest('hex');
}

/** JSON with sorted keys and no spaces; the same text for equal values, however they were stored meanwhile. */
export function canonicalJson(value: unknown): string {
	if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
	if (typeof value === 'object' && value !== null) {
		const pairs = Object.entries(value)
			.filter(([, item]) => item !== undefined)
			.sort(([a], [b]) => (a < b ? -1 : 1));
		return `{${pairs.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
	}
	return JSON.stringify(value ?? null);
}

/** What the store keeps: plain JSON, without NUL and lone surrogates, which Postgres refuses. */
export function storableJson(value: unknown): unknown {
	return JSON.parse(JSON.stringify(value ?? null), (_key, item: unknown) => {
		if (typeof item === 'string') return storableText(item);
		if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
		return Object.fromEntries(Object.entries(item).map(([key, field]) => [storableText(key), field]));
	});
}

/** The same for a plain string. */
export function storableText(text: string): string {
	return Buffer.from(text, 'utf8').toString('utf8').replaceAll('\u0000', '\ufffd');
}

export interface ChainEnd {
	readonly seq: number;
	readonly hash: string;
}

export interface ChainVerdict {
	readonly ok: boolean;
	/** Records that were read. */
	readonly entries: number;
	/** The first record that does not fit, or the number that should have followed. */
	readonly firstBadSeq: number | null;
	readonly reason: string | null;
	/** Hash of the last good record; null when there is none. */
	readonly headHash: string | null;
}

/** Takes the records of one chain in order and says whether it is whole; stops looking at the first fault. */
export class ChainVerifier {
	readonly #tenantId: string;
	#entries = 0;
	#last: ChainEnd = { seq: 0, hash: GENESIS };
	#fault: { readonly seq: number; readonly reason: string } | undefined;

	constructor(tenantId: string) {
		this.#tenantId = tenantId;
	}

	/** Returns false once a fault was found. */
	push(record: HashedRecord): boolean {
		if (this.#fault !== undefined) return false;
		this.#entries += 1;
		const expected = this.#last.seq + 1;
		const reason = this.#faultOf(record, expected);
		if (reason !== undefined) {
			this.#fault = { seq: expected, reason };
			return false;
		}
		this.#last = { seq: record.seq, hash: record.hash };
		return true;
	}

	/** `pinned` is where the chain is known to have been once: it must have been reached exactly so. */
	finish(pinned: ChainEnd): ChainVerdict {
		if (this.#fault === undefined && this.#last.seq < pinned.seq)
			this.#fault = {
				seq: this.#last.seq + 1,
				reason: `the chain ends at record ${this.#last.seq} and is known to reach ${pinned.seq}`,
			};
		if (this.#fault === undefined && this.#last.seq === pinned.seq && this.#last.hash !== pinned.hash)
			this.#fault = { seq: pinned.seq, reason: 'the last record is not the one that was pinned' };
		return {
			ok: this.#fault === undefined,
			entries: this.#entries,
			firstBadSeq: this.#fault?.seq ?? null,
			reason: this.#fault?.reason ?? null,
			headHash: this.#last.seq === 0 ? null : this.#last.hash,
		};
	}

	#faultOf(record: HashedRecord, expected: number): string | undefined {
		if (record.tenant_id !== this.#tenantId) return 'the record belongs to another chain';
		if (record.seq !== expected) return `record ${expected} is missing or out of order (found ${record.seq})`;
		if (record.prev_hash !== this.#last.hash) return 'the record does not follow the one before it';
		if (hashRecord(record) !== record.hash) return 'the record was changed after it was written';
		return undefined;
	}
}
