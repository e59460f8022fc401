// Adds a record to a tenant's audit chain inside the transaction of the act itself: both are there or neither, so a sink
// that is down stops the act instead of losing the record. Acts outside a transaction go through AuditBuffer.
import type { TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import { json } from '../tables.ts';
import { GENESIS, hashRecord, storableJson, storableText } from './chain.ts';

/** The chain of acts that belong to no tenant; written inside asSystem. No tenant can have this id. */
export const PLATFORM_CHAIN = '-' as TenantId;

export interface AuditEntry {
	readonly tenantId: TenantId;
	readonly at: Date;
	/** Who: `operator:admin-socket`, `key:key-…`, `platform`. */
	readonly actor: string;
	/** What, as `noun.verb`: `secret.set`. */
	readonly action: string;
	/** On what: `pool/workers`. */
	readonly target: string;
	/** `ok`, `denied`, `failed`. */
	readonly outcome: string;
	/** Wire form, never a secret. */
	readonly detail?: Readonly<Record<string, unknown>> | undefined;
	readonly traceId?: string | undefined;
}

/** Holds the chain until the transaction ends, so append late in it. Returns the record's number and hash. */
export async function appendAudit(tx: Tx, entry: AuditEntry): Promise<{ readonly seq: number; readonly hash: string }> {
	const { tenantId } = entry;
	// One statement makes the head when there is none, locks it and reads it.
	const head = await tx
		.insertInto('auditHead')
		.values({ tenantId, seq: 0, hash: Buffer.from(GENESIS, 'hex') })
		.onConflict((conflict) => conflict.column('tenantId').doUpdateSet({ seq: sql`audit_head.seq` }))
		.returning(['seq', 'hash'])
		.executeTakeFirstOrThrow();
	const seq = head.seq + 1;
	const detail = storableJson(entry.detail ?? {}) as Readonly<Record<string, unknown>>;
	const row = {
		tenantId,
		seq,
		at: entry.at,
		actor: storableText(entry.actor),
		action: storableText(entry.action),
		target: storableText(entry.target),
		outcome: storableText(entry.outcome),
		traceId: entry.traceId ?? null,
	};
	const hash = hashRecord({
		tenant_id: tenantId,
		seq,
		at: row.at.toISOString(),
		actor: row.actor,
		action: row.action,
		target: row.target,
		outcome: row.outcome,
		detail,
		trace_id: row.traceId,
		prev_hash: head.hash.toString('hex'),
	});
	await tx
		.insertInto('audit')
		.values({ ...row, detail: json(detail), prevHash: head.hash, hash: Buffer.from(hash, 'hex') })
		.execute();
	return { seq, hash };
}
