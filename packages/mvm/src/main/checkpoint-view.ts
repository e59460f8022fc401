// Checkpoints as the control API shows them.
import type { CheckpointId, CheckpointView, TenantId } from '@mvm/protocol';
import { type CheckpointRow, type CheckpointStore, type Database, getCheckpoint } from '../state/index.ts';

export function checkpointView(row: CheckpointRow): CheckpointView {
	return { ...row, frozenAt: row.frozenAt.toISOString(), createdAt: row.createdAt.toISOString() };
}

/** Reads every byte of it again and shows what came of it. Throws CHECKPOINT_NOT_FOUND, also for another tenant's. */
export async function verifiedView(
	deps: { readonly db: Database; readonly checkpoints: CheckpointStore },
	input: { readonly tenantId: TenantId | undefined; readonly id: CheckpointId },
	options: { readonly signal: AbortSignal },
): Promise<CheckpointView> {
	const { tenantId, id } = input;
	const read = (): Promise<CheckpointRow> =>
		tenantId === undefined
			? deps.db.asSystem((tx) => getCheckpoint(tx, id))
			: deps.db.asTenant(tenantId, (tx) => getCheckpoint(tx, id));
	const row = await read();
	await deps.checkpoints.verify(row.tenantId, id, options);
	return checkpointView(await read());
}
