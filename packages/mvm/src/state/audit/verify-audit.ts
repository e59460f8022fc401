// Checks audit chains: the stored one against its pinned head, and an exported file from the file alone.
import { MvmError, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import { type ChainEnd, type ChainVerdict, ChainVerifier, GENESIS, type HashedRecord } from './chain.ts';
import { auditHead, scanAudit } from './read-audit.ts';

/** Finds records that were removed, reordered, changed, or cut off at the end. Records added meanwhile do not disturb. */
export async function verifyAudit(tx: Tx, tenantId: TenantId): Promise<ChainVerdict & { readonly tenantId: TenantId }> {
	const pinned = await auditHead(tx, tenantId);
	const verifier = new ChainVerifier(tenantId);
	for await (const record of scanAudit(tx, tenantId)) {
		if (!verifier.push(record)) break;
	}
	return { tenantId, ...verifier.finish(pinned) };
}

/** The chain as JSON lines, oldest first; the last line is the head, so that a file cut short shows it. */
export async function* exportAudit(tx: Tx, tenantId: TenantId): AsyncGenerator<string> {
	let end: ChainEnd = { seq: 0, hash: GENESIS };
	for await (const record of scanAudit(tx, tenantId)) {
		end = { seq: record.seq, hash: record.hash };
		yield JSON.stringify(record);
	}
	yield JSON.stringify({ head: { tenant_id: tenantId, ...end } });
}

/**
 * Checks an export without any store. `pinned` is a head that was written down elsewhere: with it, a file that was cut
 * and given a new last line is found out too. Throws INVALID_DOCUMENT for a line that is not one of an export.
 */
export async function verifyAuditExport(
	lines: AsyncIterable<string> | Iterable<string>,
	options: { readonly pinned?: ChainEnd } = {},
): Promise<ChainVerdict> {
	let verifier: ChainVerifier | undefined;
	let head: ChainEnd | undefined;
	let number = 0;
	for await (const line of lines) {
		number += 1;
		if (line.trim() === '') continue;
		const parsed = parseLine(line, number);
		if ('head' in parsed) {
			verifier ??= new ChainVerifier(parsed.head.tenant_id);
			head = parsed.head;
			continue;
		}
		verifier ??= new ChainVerifier(parsed.tenant_id);
		if (head !== undefined) head = undefined; // records after a head: it was not the last line
		if (!verifier.push(parsed)) break;
	}
	const verdict = (verifier ?? new ChainVerifier('')).finish(head ?? { seq: 0, hash: GENESIS });
	if (!verdict.ok) return verdict;
	if (head === undefined)
		return {
			...verdict,
			ok: false,
			firstBadSeq: verdict.entries + 1,
			reason: 'the file does not end with its head line: it was cut short',
		};
	if (head.seq !== verdict.entries || (head.hash !== verdict.headHash && head.seq > 0))
		return { ...verdict, ok: false, firstBadSeq: head.seq + 1, reason: 'the head line is not the end of the records before it' };
	const { pinned } = options;
	if (pinned !== undefined && (head.seq < pinned.seq || (head.seq === pinned.seq && head.hash !== pinned.hash)))
		return {
			...verdict,
			ok: false,
			firstBadSeq: Math.min(head.seq, pinned.seq) + 1,
			reason: 'the file does not reach the head that was written down',
		};
	return verdict;
}

type Line = HashedRecord | { readonly head: { readonly tenant_id: string; readonly seq: number; readonly hash: string } };

function parseLine(line: string, number: number): Line {
	try {
		const value: unknown = JSON.parse(line);
		if (typeof value === 'object' && value !== null && ('head' in value || 'seq' in value)) return value as Line;
	} catch {
		// told below
	}
	throw new MvmError('INVALID_DOCUMENT', `line ${number} is not a line of an audit export`, { details: { line: number } });
}
