// The first frame on each of the two link streams: the guest says which life of the instance it is, the host accepts or not.
// Only after an acceptance does HTTP/2 begin on the stream.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';

export const LinkHello = codec(
	z.object({
		incarnation: z.int().check(z.gte(0)),
		/** 256 random bits, base64url; the host compares it in constant time. */
		token: z.string(),
		/** `to_guest`: the guest is the HTTP/2 server. `to_host`: it is the client. */
		stream: z.enum(['to_guest', 'to_host']),
		agent_version: z._default(z.string(), ''),
	}),
);
export type LinkHello = CodecValue<typeof LinkHello>;

export const LinkHelloAnswer = codec(
	z.discriminatedUnion('accepted', [
		z.object({ accepted: z.literal(true) }),
		z.object({ accepted: z.literal(false), reason: z._default(z.string(), '') }),
	]),
);
export type LinkHelloAnswer = CodecValue<typeof LinkHelloAnswer>;
