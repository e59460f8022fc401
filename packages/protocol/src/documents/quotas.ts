// What a tenant may use at most.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';

const count = z.int().check(z.gte(0));

export const QuotasSchema = z.strictObject({
	max_vcpus: z._default(count, 16),
	max_mem_mib: z._default(count, 32_768),
	/** Instances awake at a time. */
	max_running: z._default(count, 8),
	/** Instances frozen at a time. */
	max_warm: z._default(count, 4),
	max_pools: z._default(count, 4),
	max_instances_per_pool: z._default(count, 16),
	max_disk_gib: z._default(count, 100),
});
export const Quotas = codec(QuotasSchema);
export type Quotas = CodecValue<typeof Quotas>;
