// What the host asks a guest agent on port 52. The first six are the reference's, byte for byte.
import * as z from 'zod/mini';
import { bare, type Message, tagged, type UnknownMessage } from './tagged.ts';

const GUEST_REQUESTS = {
	WorkerStatus: bare,
	/** Drain what is running within the budget; the guest answers SleepPrepAck. */
	SleepPrep: z.object({ drain_timeout_secs: z.int().check(z.gte(0)) }),
	/** Run the restore commands; sent after every boot, thaw, wake and restore, behind PostRestore. */
	Wake: bare,
	Ping: bare,
	IntegrationStatus: bare,
	/** Names to checkpoint; empty means all. */
	CheckpointIntegrations: z.object({ integrations: z.array(z.string()) }),
	/** Turns the stream into raw bytes to 127.0.0.1:port in the instance, once ForwardReady came back. */
	Forward: z.object({ port: z.int().check(z.gte(1), z.lte(65_535)) }),
	/** Begins a new life: the identity to present from now on, the time, and fresh randomness. */
	PostRestore: z.object({
		incarnation: z.int().check(z.gte(0)),
		token: z.string(),
		/** The host's time, epoch milliseconds. */
		now_ms: z.int(),
		secrets_epoch: z._default(z.int().check(z.gte(0)), 0),
		/** Random bytes in base64url to stir into the guest's generators; empty: nothing to stir. */
		reseed: z._default(z.string(), ''),
	}),
	SupervisorStatus: bare,
	/** Asks for the credential of the workload's own interface; answered only on the host's link. */
	WorkloadToken: bare,
} as const;

export type GuestRequest = Message<typeof GUEST_REQUESTS>;

const messages = tagged('guest request', GUEST_REQUESTS);
export const encodeGuestRequest: (message: GuestRequest) => unknown = messages.encode;
/** Throws GUEST_PROTOCOL; an unknown request comes back as kind `Unknown` and is answered with an Error. */
export const decodeGuestRequest: (wire: unknown) => GuestRequest | UnknownMessage = messages.decode;
