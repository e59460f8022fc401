// Conditions: observed facts about a thing, each with a stable reason. They describe; they never command.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';

export const ConditionSchema = z.object({
	/** PascalCase, such as `NeedsAttention` or `MemoryAtRestUnencrypted`. */
	type: z.string(),
	status: z.boolean(),
	/** PascalCase and stable: programs may compare it. */
	reason: z.string(),
	/** For people. */
	message: z.string(),
});
export const Condition = codec(ConditionSchema);
export type Condition = CodecValue<typeof Condition>;
