// The instance API as data: HTTP/1.1 on port 54 of the link, `/run/mvm/api.sock` inside an instance. The host serves it;
// who calls is known by the link, so no route names a tenant or an instance.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';

/** Something the workload made that others may want to know of; stored as an event. The bytes stay in the instance. */
export const ArtifactReport = codec(
	z.object({
		name: z.string().check(z.minLength(1), z.maxLength(255)),
		/** A word of the workload, such as `image` or `note`. */
		kind: z.string().check(z.regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/, 'must be a short lower-case word')),
		bytes: z.int().check(z.gte(0)),
		sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits')),
	}),
);
export type ArtifactReport = CodecValue<typeof ArtifactReport>;

/** Routes an instance may call; the answer of each is empty. */
export const INSTANCE_ROUTES = {
	'artifact.report': { method: 'POST', path: '/v1/artifacts', request: ArtifactReport },
} as const;
