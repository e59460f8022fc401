// What a guest agent answers on port 52. The first seven are the reference's, byte for byte.
import * as z from 'zod/mini';
import { IntegrationStateReportSchema } from '../documents/integration.ts';
import { SupervisorStatusSchema } from './supervisor-status.ts';
import { bare, type Message, tagged, type UnknownMessage } from './tagged.ts';

const detail = z._default(z.nullable(z.string()), null);

const GUEST_RESPONSES = {
	WorkerStatus: z.object({
		/** A state this version does not know counts as busy: nobody is put to sleep on a guess. */
		status: z.catch(z.enum(['idle', 'busy']), 'busy'),
		last_busy_at: z._default(z.nullable(z.string()), null),
	}),
	SleepPrepAck: z.object({ success: z.boolean(), detail }),
	WakeAck: z.object({ success: z.boolean() }),
	Pong: bare,
	Error: z.object({ message: z.string() }),
	IntegrationStatusReport: z.object({ integrations: z.array(IntegrationStateReportSchema) }),
	CheckpointResult: z.object({
		success: z.boolean(),
		/** Names of integrations whose checkpoint failed, critical or not. */
		failed: z._default(z.array(z.string()), []),
		detail,
	}),
	ForwardReady: bare,
	PostRestoreAck: z.object({ success: z.boolean(), detail }),
	SupervisorStatus: SupervisorStatusSchema,
	/** The credential of the running workload's own interface; null when it has none. */
	WorkloadToken: z.object({ token: z._default(z.nullable(z.string()), null) }),
} as const;

export type GuestResponse = Message<typeof GUEST_RESPONSES>;

const messages = tagged('guest response', GUEST_RESPONSES);
export const encodeGuestResponse: (message: GuestResponse) => unknown = messages.encode;
/** Throws GUEST_PROTOCOL; an unknown answer comes back as kind `Unknown`. */
export const decodeGuestResponse: (wire: unknown) => GuestResponse | UnknownMessage = messages.decode;
