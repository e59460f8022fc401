// Opens an operation and fences the instance in one statement: the row's version must be the one the caller saw.
import { type InstanceId, MvmError, type OperationId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { InstanceRow } from './row.ts';

export interface ClaimInput {
	readonly operationId: OperationId;
	readonly instanceId: InstanceId;
	readonly expectedVersion: number;
	readonly kind: string;
	readonly step: string;
	/** 1 when the operation starts a new life of the instance (boot, thaw, wake, restore), else 0. */
	readonly newIncarnations: 0 | 1;
	readonly reason: string;
	readonly forced: boolean;
	readonly traceId: string;
}

/** Returns the instance as claimed; a repetition changes nothing. Throws CONFLICT when it changed meanwhile, OPERATION_IN_PROGRESS when one is open. */
export async function claimOperation(tx: Tx, input: ClaimInput): Promise<InstanceRow> {
	try {
		const { rows } = await sql<InstanceRow>`
			with claimed as (
				update instance set incarnation = incarnation + ${input.newIncarnations}, version = version + 1, updated_at = now()
				where id = ${input.instanceId} and version = ${input.expectedVersion} returning *
			), opened as (
				insert into operation (id, tenant_id, instance_id, kind, step, incarnation, reason, forced, trace_id)
				select ${input.operationId}, tenant_id, id, ${input.kind}, ${input.step}, incarnation, ${input.reason}, ${input.forced}, ${input.traceId}
				from claimed returning 1
			)
			select claimed.* from claimed, opened`.execute(tx);
		const row = rows[0] ?? (await claimedAlready(tx, input.operationId));
		if (row === undefined) throw new MvmError('CONFLICT', `instance ${input.instanceId} changed while the operation was claimed`);
		return row;
	} catch (error) {
		if (isUniqueViolation(error))
			throw new MvmError('OPERATION_IN_PROGRESS', `instance ${input.instanceId} has an operation in progress`);
		throw error;
	}
}

function isUniqueViolation(error: unknown): boolean {
	return typeof error === 'object' && error !== null && (error as { code?: unknown }).code === '23505';
}

/** A commit whose answer was lost: the operation is open already. */
async function claimedAlready(tx: Tx, operationId: OperationId): Promise<InstanceRow | undefined> {
	const { rows } = await sql<InstanceRow>`
		select instance.* from instance join operation on operation.instance_id = instance.id
		where operation.id = ${operationId} and operation.finished_at is null`.execute(tx);
	return rows[0];
}
