// What a guest may ask the host on port 53, and the answers; the reference's messages, byte for byte. Whom the caller may
// ask about is decided by the link it came over, never by the ids in here.
import * as z from 'zod/mini';
import { type Message, tagged, type UnknownMessage } from './tagged.ts';

const address = z.object({ tenant_id: z.string(), pool_id: z.string(), instance_id: z.string() });

const HOST_BOUND_REQUESTS = {
	WakeInstance: address,
	QueryInstanceStatus: address,
} as const;

const HOST_BOUND_RESPONSES = {
	WakeResult: z.object({ success: z.boolean(), detail: z._default(z.nullable(z.string()), null) }),
	InstanceStatus: z.object({ status: z.string(), guest_ip: z._default(z.nullable(z.string()), null) }),
	Error: z.object({ message: z.string() }),
} as const;

export type HostBoundRequest = Message<typeof HOST_BOUND_REQUESTS>;
export type HostBoundResponse = Message<typeof HOST_BOUND_RESPONSES>;

const requests = tagged('host-bound request', HOST_BOUND_REQUESTS);
const responses = tagged('host-bound response', HOST_BOUND_RESPONSES);
export const encodeHostBoundRequest: (message: HostBoundRequest) => unknown = requests.encode;
export const decodeHostBoundRequest: (wire: unknown) => HostBoundRequest | UnknownMessage = requests.decode;
export const encodeHostBoundResponse: (message: HostBoundResponse) => unknown = responses.encode;
export const decodeHostBoundResponse: (wire: unknown) => HostBoundResponse | UnknownMessage = responses.decode;
