// The rows of checkpoints: one is inserted only after all of its bytes were verified, and marked bad when they later are not.
import { type CheckpointId, type InstanceId, MvmError, type TenantId } from '@mvm/protocol';
import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../database.ts';
import { json } from '../tables.ts';

export interface CheckpointRow {
	readonly id: CheckpointId;
	readonly tenantId: TenantId;
	readonly instanceId: InstanceId;
	/** The one before it; may have been removed since. */
	readonly parentId: CheckpointId | null;
	readonly manifestSha256: string;
	readonly incarnation: number;
	readonly image: string;
	readonly schemaVersions: Readonly<Record<string, string>>;
	readonly entries: number;
	readonly bytes: number;
	/** What the instance took before this moment is contained. */
	readonly frozenAt: Date;
	readonly createdAt: Date;
	readonly state: 'good' | 'bad';
	/** Null while good. */
	readonly badReason: string | null;
}

export type NewCheckpoint = Omit<CheckpointRow, 'createdAt' | 'state' | 'badReason'>;

/** Inserting the same id again changes nothing. */
export async function insertCheckpoint(tx: Tx, row: NewCheckpoint): Promise<void> {
	await tx
		.insertInto('checkpoint')
		.values({ ...row, schemaVersions: json(row.schemaVersions), state: 'good' })
		.onConflict((conflict) => conflict.column('id').doNothing())
		.execute();
}

/** Newest first, bad ones too. */
export async function listCheckpoints(tx: Tx, instanceId: InstanceId): Promise<readonly CheckpointRow[]> {
	return tx
		.selectFrom('checkpoint')
		.selectAll()
		.where('instanceId', '=', instanceId)
		.orderBy('frozenAt', 'desc')
		.orderBy('createdAt', 'desc')
		.orderBy('id', 'desc')
		.execute();
}

/** Throws CHECKPOINT_NOT_FOUND. */
export async function getCheckpoint(tx: Tx, id: CheckpointId): Promise<CheckpointRow> {
	const row = await tx.selectFrom('checkpoint').selectAll().where('id', '=', id).executeTakeFirst();
	if (row === undefined)
		throw new MvmError('CHECKPOINT_NOT_FOUND', `there is no checkpoint ${id}`, { details: { checkpoint_id: id } });
	return row;
}

/** Never used again; its row stays for people to see. */
export async function markCheckpointBad(tx: Tx, id: CheckpointId, reason: string): Promise<void> {
	await tx
		.updateTable('checkpoint')
		.set({ state: 'bad', badReason: reason })
		.where('id', '=', id)
		.where('state', '=', 'good')
		.execute();
}

/**
 * Removes rows of a tenant, or of one instance of it, that nobody will restore from. Kept of each instance that is not
 * destroyed: the newest `keep` good and `keep` bad ones, the one the instance names, and every one that a message with a
 * body names (it may have to be delivered again after a fallback past it).
 */
export async function pruneCheckpoints(
	tx: Tx,
	input: { readonly tenantId: TenantId; readonly instanceId?: InstanceId; readonly keep: number },
): Promise<void> {
	const { tenantId, instanceId, keep } = input;
	const inScope = (table: string): RawBuilder<boolean> =>
		instanceId === undefined ? sql`true` : sql`${sql.ref(table)}.instance_id = ${instanceId}`;
	await sql`
		delete from checkpoint gone where gone.tenant_id = ${tenantId} and ${inScope('gone')} and gone.id not in (
			select id from (
				select c.id, row_number() over (partition by c.instance_id, c.state order by c.frozen_at desc, c.created_at desc, c.id desc) as rank
				from checkpoint c join instance i on i.id = c.instance_id
				where c.tenant_id = ${tenantId} and ${inScope('c')} and i.state <> 'destroyed'
			) ranked where rank <= ${keep}
			union select i.checkpoint_id from instance i
				where i.tenant_id = ${tenantId} and i.checkpoint_id is not null and i.state <> 'destroyed'
			union select m.checkpoint_id from ingress_message m
				where m.tenant_id = ${tenantId} and ${inScope('m')} and m.taken_at is not null and m.body is not null
					and m.checkpoint_id is not null
		)`.execute(tx);
}

/** All that a tenant has, good and bad. */
export async function listTenantCheckpoints(tx: Tx, tenantId: TenantId): Promise<readonly CheckpointRow[]> {
	return tx.selectFrom('checkpoint').selectAll().where('tenantId', '=', tenantId).orderBy('id').execute();
}
