// The operator's mvm.toml: parsed once into a resolved value, every problem reported at once. Secrets never stand in it.
import { MvmError } from '@mvm/protocol';
import { parse as parseToml, TomlError } from 'smol-toml';
import * as z from 'zod/mini';

const positive = (): z.ZodMiniNumber => z.number().check(z.int(), z.positive());

const ConfigFile = z.strictObject({
	/** Edge address `host:port`. */
	listen: z._default(z.string().check(z.regex(/^(\[[0-9a-fA-F:]+\]|[^:[\]\s]+):\d{1,5}$/)), '127.0.0.1:7070'),
	tls: z.optional(z.strictObject({ cert: z.string(), key: z.string() })),
	/** Loopback, link-local and private upstreams that endpoints may reach, as `host:port`. */
	upstream_allow: z._default(z.array(z.string()), []),
	swap: z._default(
		z.strictObject({
			/** Size of the managed swap file; 0 turns it off. */
			size_mib: z._default(z.number().check(z.int(), z.nonnegative()), 4096),
			zswap: z._default(z.boolean(), false),
			page_cluster: z.optional(z.number().check(z.int(), z.nonnegative(), z.lte(8))),
		}),
		{ size_mib: 4096, zswap: false },
	),
	limits: z._default(
		z.strictObject({
			max_body_bytes: z._default(positive(), 1_048_576),
			retained_bytes_per_tenant: z._default(positive(), 268_435_456),
			held_requests_per_instance: z._default(positive(), 200),
			hold_deadline_secs: z._default(positive(), 60),
			wake_timeout_secs: z._default(positive(), 120),
		}),
		{
			max_body_bytes: 1_048_576,
			retained_bytes_per_tenant: 268_435_456,
			held_requests_per_instance: 200,
			hold_deadline_secs: 60,
			wake_timeout_secs: 120,
		},
	),
	log_level: z._default(z.enum(['trace', 'debug', 'info', 'warn', 'error']), 'info'),
	/** How often the sleep policy looks at awake instances, in milliseconds. */
	policy_interval_ms: z._default(positive(), 1000),
});

export interface Config {
	readonly listen: { readonly host: string; readonly port: number };
	readonly tls?: { readonly cert: string; readonly key: string };
	readonly upstreamAllow: readonly string[];
	readonly swap: { readonly sizeMib: number; readonly zswap: boolean; readonly pageCluster?: number };
	readonly limits: {
		readonly maxBodyBytes: number;
		readonly retainedBytesPerTenant: number;
		readonly heldRequestsPerInstance: number;
		readonly holdDeadlineMs: number;
		readonly wakeTimeoutMs: number;
	};
	readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error';
	readonly policyIntervalMs: number;
}

/**
 * Parses the text of mvm.toml; an empty text gives the defaults. `listen` overrides the file (MVM_LISTEN or a flag).
 * Throws CONFIG_INVALID naming every problem with its path.
 */
export function parseConfig(text: string, overrides: { readonly listen?: string } = {}): Config {
	let document: Record<string, unknown>;
	try {
		document = parseToml(text);
	} catch (error) {
		if (!(error instanceof TomlError)) throw error;
		throw new MvmError('CONFIG_INVALID', `mvm.toml does not parse: ${error.message.split('\n')[0]}`, {
			details: { line: error.line, column: error.column },
		});
	}
	if (overrides.listen !== undefined) document['listen'] = overrides.listen;
	const result = ConfigFile.safeParse(document);
	if (!result.success) {
		const problems = result.error.issues.map((issue) => ({ path: issue.path.join('.') || '(document)', message: issue.message }));
		throw new MvmError(
			'CONFIG_INVALID',
			`mvm.toml has ${problems.length} problem(s): ${problems.map((p) => `${p.path}: ${p.message}`).join('; ')}`,
			{
				details: { problems },
				hint: 'see docs/operations.md for every setting',
			},
		);
	}
	const file = result.data;
	const at = file.listen.lastIndexOf(':');
	return {
		listen: { host: file.listen.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(file.listen.slice(at + 1)) },
		...(file.tls === undefined ? {} : { tls: file.tls }),
		upstreamAllow: file.upstream_allow,
		swap: {
			sizeMib: file.swap.size_mib,
			zswap: file.swap.zswap,
			...(file.swap.page_cluster === undefined ? {} : { pageCluster: file.swap.page_cluster }),
		},
		limits: {
			maxBodyBytes: file.limits.max_body_bytes,
			retainedBytesPerTenant: file.limits.retained_bytes_per_tenant,
			heldRequestsPerInstance: file.limits.held_requests_per_instance,
			holdDeadlineMs: file.limits.hold_deadline_secs * 1000,
			wakeTimeoutMs: file.limits.wake_timeout_secs * 1000,
		},
		logLevel: file.log_level,
		policyIntervalMs: file.policy_interval_ms,
	};
}
