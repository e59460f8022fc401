// `/etc/mvm-config/config.json`: what an instance is told about itself. Written by the host, read by the guest agent;
// the first seven keys are the reference's. A guest of another version drops what it does not know.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { tolerant } from '../codec/tolerant.ts';
import { InstanceIdSchema, PathSafeNameSchema, PoolIdSchema, TenantIdSchema } from '../ids.ts';
import { WorkloadSchema } from './image.ts';
import { IntegrationEntrySchema } from './integration.ts';
import { RuntimePolicySchema } from './policy.ts';

export const GUEST_CONFIG_PATH = '/etc/mvm-config/config.json';

export const GuestConfig = codec(
	z.object({
		instance_id: InstanceIdSchema,
		pool_id: PoolIdSchema,
		tenant_id: TenantIdSchema,
		/** Null: the instance has no network card. */
		guest_ip: z._default(z.nullable(z.string()), null),
		vcpus: z.int(),
		mem_mib: z.int(),
		min_runtime_policy: z.prefault(tolerant(RuntimePolicySchema), {}),
		integrations: z._default(z.array(IntegrationEntrySchema), []),
		workload: z.prefault(tolerant(WorkloadSchema), {}),
		/** Loopback ports in the instance that lead to one allowed upstream each. */
		endpoints: z._default(z.array(z.object({ name: PathSafeNameSchema, guest_port: z.int() })), []),
		/** Ids inside the instance; null: everything runs as one user. */
		uids: z._default(z.nullable(z.object({ workload: z.int(), executor_base: z.int() })), null),
		/** True in development images: `exec` is allowed. */
		dev: z._default(z.boolean(), false),
	}),
);
export type GuestConfig = CodecValue<typeof GuestConfig>;
