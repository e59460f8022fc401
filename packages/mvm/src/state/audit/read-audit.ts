// Reads a tenant's audit records, newest first for people or in order for checking.
import type { TenantId } from '@mvm/protocol';
import type { Selectable } from 'kysely';
import type { Tx } from '../database.ts';
import type { Tables } from '../tables.ts';
import { type ChainEnd, GENESIS, type HashedRecord } from './chain.ts';

const PAGE = 1_000;

/** Newest first; `beforeSeq` pages on. */
export async function listAudit(
	tx: Tx,
	input: { readonly tenantId: TenantId; readonly limit: number; readonly beforeSeq?: number },
): Promise<readonly HashedRecord[]> {
	let query = tx.selectFrom('audit').selectAll().where('tenantId', '=', input.tenantId).orderBy('seq', 'desc').limit(input.limit);
	if (input.beforeSeq !== undefined) query = query.where('seq', '<', input.beforeSeq);
	return (await query.execute()).map(toRecord);
}

/** Where the chain ends by the pinned head; {0, genesis} when nothing was written. */
export async function auditHead(tx: Tx, tenantId: TenantId): Promise<ChainEnd> {
	const head = await tx.selectFrom('auditHead').select(['seq', 'hash']).where('tenantId', '=', tenantId).executeTakeFirst();
	return head === undefined ? { seq: 0, hash: GENESIS } : { seq: head.seq, hash: head.hash.toString('hex') };
}

/** All records in order, a page at a time. */
export async function* scanAudit(tx: Tx, tenantId: TenantId): AsyncGenerator<HashedRecord> {
	let after = Number.MIN_SAFE_INTEGER;
	for (;;) {
		const rows = await tx
			.selectFrom('audit')
			.selectAll()
			.where('tenantId', '=', tenantId)
			.where('seq', '>', after)
			.orderBy('seq')
			.limit(PAGE)
			.execute();
		for (const row of rows) yield toRecord(row);
		const last = rows.at(-1);
		if (last === undefined || rows.length < PAGE) return;
		after = last.seq;
	}
}

function toRecord(row: Selectable<Tables['audit']>): HashedRecord {
	return {
		tenant_id: row.tenantId,
		seq: row.seq,
		at: row.at.toISOString(),
		actor: row.actor,
		action: row.action,
		target: row.target,
		outcome: row.outcome,
		detail: row.detail,
		trace_id: row.traceId,
		prev_hash: row.prevHash.toString('hex'),
		hash: row.hash.toString('hex'),
	};
}
