// The states of an instance, as words; which step leads where is the domain's table.
import * as z from 'zod/mini';

/** `warm`: frozen in memory. `sleeping`: nothing in memory; its state is on disk. */
export const INSTANCE_STATES = ['created', 'ready', 'running', 'warm', 'sleeping', 'stopped', 'destroyed'] as const;
export type InstanceState = (typeof INSTANCE_STATES)[number];
export const InstanceStateSchema = z.enum(INSTANCE_STATES);

/** States of a retained inbound message: waiting, handed over with proof, contained in a checkpoint, given up. */
export const MESSAGE_STATES = ['pending', 'taken', 'settled', 'dead'] as const;
export type MessageState = (typeof MESSAGE_STATES)[number];
