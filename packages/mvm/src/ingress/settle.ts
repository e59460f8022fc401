// Follows the instances' checkpoints: settles what they contain, takes back what a fallback lost. main/ subscribes these
// two to lifecycle, which awaits them before anything runs on the restored state; both are safe to repeat.
import type { InstanceId } from '@mvm/protocol';
import type { Logger } from 'pino';
import { type Database, returnMessages, settleMessages } from '../state/index.ts';

export interface SettleDeps {
	readonly database: Database;
	readonly log: Logger;
	/** Called when messages became pending again. */
	readonly onReturned: () => void;
}

export interface CheckpointMoment {
	readonly instanceId: InstanceId;
	readonly checkpointId: string;
	/** By the daemon's clock, read before the freeze was asked for. */
	readonly frozenAt: Date;
}

/** A checkpoint was verified: what the instance took before its freeze is settled. */
export async function onCheckpointed(deps: SettleDeps, moment: CheckpointMoment): Promise<void> {
	const settled = await deps.database.asSystem((tx) => settleMessages(tx, moment), { idempotent: true });
	if (settled > 0) {
		deps.log.info({ instance_id: moment.instanceId, checkpoint_id: moment.checkpointId, messages: settled }, 'messages settled');
	}
}

/** The instance was put back to this checkpoint: what it took later is delivered again. */
export async function onRolledBack(deps: SettleDeps, moment: CheckpointMoment): Promise<void> {
	const returned = await deps.database.asSystem((tx) => returnMessages(tx, moment), { idempotent: true });
	if (returned === 0) return;
	deps.log.warn(
		{ instance_id: moment.instanceId, checkpoint_id: moment.checkpointId, messages: returned },
		'messages taken after the checkpoint will be delivered again',
	);
	deps.onReturned();
}
