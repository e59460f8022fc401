// The only place that writes instance columns outside of a claim. Absent fields stay as they are; null clears.
import { type Condition, type InstanceId, MvmError } from '@mvm/protocol';
import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../database.ts';
import type { InstanceRow } from './row.ts';

export interface InstancePatch {
	readonly state?: InstanceRow['state'];
	readonly hibernated?: boolean;
	/** Only recovery writes it outside of a claim, and only upwards. */
	readonly incarnation?: number;
	readonly slot?: number | null;
	readonly image?: string;
	readonly conditions?: readonly Condition[];
	readonly pinned?: boolean;
	readonly enteredRunningAt?: Date | null;
	readonly enteredWarmAt?: Date | null;
	readonly lastBusyAt?: Date | null;
	readonly backoffUntil?: Date | null;
	readonly failures?: number;
	readonly checkpointId?: string;
	readonly dataGeneration?: number;
	readonly secretsEpoch?: number;
}

const COLUMNS = {
	state: 'state',
	hibernated: 'hibernated',
	incarnation: 'incarnation',
	slot: 'slot',
	image: 'image',
	conditions: 'conditions',
	pinned: 'pinned',
	enteredRunningAt: 'entered_running_at',
	enteredWarmAt: 'entered_warm_at',
	lastBusyAt: 'last_busy_at',
	backoffUntil: 'backoff_until',
	failures: 'failures',
	checkpointId: 'checkpoint_id',
	dataGeneration: 'data_generation',
	secretsEpoch: 'secrets_epoch',
} as const satisfies Record<keyof InstancePatch, string>;

/** The `set` list of a patch; always bumps version and updated_at. */
export function patchAssignments(patch: InstancePatch): RawBuilder<unknown> {
	const parts: RawBuilder<unknown>[] = [sql`version = instance.version + 1`, sql`updated_at = now()`];
	for (const [field, column] of Object.entries(COLUMNS) as [keyof InstancePatch, string][]) {
		const value = patch[field];
		if (value === undefined) continue;
		parts.push(field === 'conditions' ? sql`conditions = ${JSON.stringify(value)}::jsonb` : sql`${sql.raw(column)} = ${value}`);
	}
	return sql.join(parts);
}

/** Applies a patch outside of an operation. Throws INSTANCE_NOT_FOUND. */
export async function updateInstance(tx: Tx, id: InstanceId, patch: InstancePatch): Promise<InstanceRow> {
	const { rows } = await sql<InstanceRow>`update instance set ${patchAssignments(patch)} where id = ${id} returning *`.execute(
		tx,
	);
	const row = rows[0];
	if (row === undefined) throw new MvmError('INSTANCE_NOT_FOUND', `no instance ${id}`);
	return row;
}
