// Integrations: named pieces of session state in an instance, with the commands that save, restore and check them.
// The documents are the reference's, byte for byte; `rollback` is ours and absent unless it was set.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { PathSafeNameSchema } from '../ids.ts';

/** Where integration state is kept inside an instance. */
export const INTEGRATIONS_BASE_PATH = '/data/integrations';
/** Where drop-in files are read from inside an instance: one entry per `*.json` file. */
export const INTEGRATIONS_DROPIN_DIR = '/etc/mvm/integrations.d';

const command = z._default(z.nullable(z.string()), null);
const seconds = z.int().check(z.gte(1), z.lte(86_400));

/** An entry as a guest reads it: unknown keys of other versions are dropped. */
export const IntegrationEntrySchema = z.object({
	/** Also the name of its directory, so it is safe in a path. */
	name: PathSafeNameSchema,
	/** Run before sleep; null: only the state directory is kept. */
	checkpoint_cmd: command,
	/** Run after every wake and boot. */
	restore_cmd: command,
	/** True: no sleep until its checkpoint succeeded. */
	critical: z._default(z.boolean(), false),
	/** Exit 0 is healthy; its standard error is the detail otherwise. */
	health_cmd: command,
	health_interval_secs: z._default(seconds, 30),
	health_timeout_secs: z._default(seconds, 10),
	/** `never`: its state may not go back to an older checkpoint; the instance then stays down with NeedsAttention. */
	rollback: z.optional(z.enum(['allowed', 'never'])),
});
export const IntegrationEntry = codec(IntegrationEntrySchema);
export type IntegrationEntry = CodecValue<typeof IntegrationEntry>;

export const IntegrationManifest = codec(z.object({ integrations: z._default(z.array(IntegrationEntrySchema), []) }));
export type IntegrationManifest = CodecValue<typeof IntegrationManifest>;

/** The manifest as the reference writes it: two spaces of indent. */
export function manifestToJson(manifest: IntegrationManifest): string {
	return JSON.stringify(IntegrationManifest.encode(manifest), null, 2);
}

const IntegrationStatusSchema = z.union([z.enum(['active', 'paused', 'pending']), z.object({ error: z.string() })]);
/** `pending`: not yet initialised. */
export const IntegrationStatus = codec(IntegrationStatusSchema);
export type IntegrationStatus = CodecValue<typeof IntegrationStatus>;

const IntegrationHealthResultSchema = z.object({
	healthy: z.boolean(),
	/** `ok`, or the command's standard error, or its exit code. */
	detail: z.string(),
	/** RFC 3339 in UTC. */
	checked_at: z.string(),
});
export const IntegrationHealthResult = codec(IntegrationHealthResultSchema);
export type IntegrationHealthResult = CodecValue<typeof IntegrationHealthResult>;

export const IntegrationStateReportSchema = z.object({
	name: z.string(),
	/** A status this version does not know is shown as pending. */
	status: z.catch(IntegrationStatusSchema, 'pending'),
	/** RFC 3339 of the last successful checkpoint; null when there was none. */
	last_checkpoint_at: z._default(z.nullable(z.string()), null),
	/** Bytes of state on disk. */
	state_size_bytes: z._default(z.int(), 0),
	/** Null when it has no health command or was not checked yet. */
	health: z._default(z.nullable(IntegrationHealthResultSchema), null),
});
export const IntegrationStateReport = codec(IntegrationStateReportSchema);
export type IntegrationStateReport = CodecValue<typeof IntegrationStateReport>;

/** Directory of an integration's state inside the instance. */
export const integrationStateDir = (name: string): string => `${INTEGRATIONS_BASE_PATH}/${name}/state`;
/** Marker file of an integration's last checkpoint inside the instance; holds its UTC time. */
export const integrationCheckpointPath = (name: string): string => `${INTEGRATIONS_BASE_PATH}/${name}/checkpoint`;
