// What a wake did and how long each step took; in API answers, events and metrics.
import * as z from 'zod/mini';
import { type CodecValue, codec } from './codec/codec.ts';

/** `resumed`: was frozen. `restored`: from a memory snapshot. `cold-boot`: started anew. */
export const WAKE_OUTCOMES = ['resumed', 'restored', 'cold-boot', 'already-running'] as const;

export const WakeOutcomeSchema = z.object({
	outcome: z.enum(WAKE_OUTCOMES),
	total_ms: z.number(),
	steps: z.array(z.object({ name: z.string(), ms: z.number() })),
});
export const WakeOutcome = codec(WakeOutcomeSchema);
export type WakeOutcome = CodecValue<typeof WakeOutcome>;
