// Reads the journal for people: one operation, or the newest of a tenant or an instance. Written by state/instance only.
import { type InstanceId, MvmError, type OperationId, type TenantId } from '@mvm/protocol';
import type { Tx } from '../database.ts';
import type { OperationRow } from '../instance/row.ts';

/** Newest first. */
export async function readOperations(
	tx: Tx,
	filter: {
		readonly tenantId?: TenantId | undefined;
		readonly instanceId?: InstanceId | undefined;
		/** True: unfinished ones only; false: finished ones only. */
		readonly isOpen?: boolean | undefined;
		readonly limit: number;
	},
): Promise<readonly OperationRow[]> {
	let query = tx.selectFrom('operation').selectAll().orderBy('startedAt', 'desc').orderBy('id').limit(filter.limit);
	if (filter.tenantId !== undefined) query = query.where('tenantId', '=', filter.tenantId);
	if (filter.instanceId !== undefined) query = query.where('instanceId', '=', filter.instanceId);
	if (filter.isOpen !== undefined) query = query.where('finishedAt', filter.isOpen ? 'is' : 'is not', null);
	return query.execute();
}

/** Throws OPERATION_NOT_FOUND. */
export async function readOperation(tx: Tx, id: OperationId): Promise<OperationRow> {
	const row = await tx.selectFrom('operation').selectAll().where('id', '=', id).executeTakeFirst();
	if (row === undefined)
		throw new MvmError('OPERATION_NOT_FOUND', `there is no operation ${id}`, { details: { operation_id: id } });
	return row;
}
