// The deploy file: one tenant, its secrets' names and its pools. The CLI checks it before it sends it, the server again
// before it changes anything. Pure: the TOML was parsed and no file of it is read here.
import type * as z from 'zod/mini';
import type { Parsed } from '../codec/codec.ts';
import { type DocumentProblem, toProblems } from '../codec/problems.ts';
import { defaultRuntimePolicy, RuntimePolicy } from '../documents/policy.ts';
import { PoolSpec, type PoolSpecSchema } from '../documents/pool.ts';
import { Quotas } from '../documents/quotas.ts';
import { crossChecks } from './cross-checks.ts';
import { type DeployFile, DeployFileSchema, type DeployPool, isReferencePool } from './deploy-schema.ts';
import { quotaChecks } from './quota-checks.ts';
import { list, table } from './raw.ts';

/** The deploy file of a parsed TOML document, or every problem it has. */
export function parseDeployFile(toml: unknown): Parsed<DeployFile> {
	const raw = withEnvironmentNames(toml);
	const result = DeployFileSchema.safeParse(raw, { reportInput: true });
	const cross = crossChecks(raw);
	if (!result.success) return { ok: false, problems: merged(toProblems(DeployFileSchema, result.error.issues), cross) };
	const { tenant, secrets } = result.data;
	const rawPools = list(table(raw)['pools']);
	const value: DeployFile = {
		tenant: {
			id: tenant.id,
			quotas: Quotas.parse(tenant.quotas),
			...(tenant.net_id === undefined ? {} : { netId: tenant.net_id }),
			...(tenant.subnet === undefined ? {} : { subnet: tenant.subnet }),
		},
		secrets,
		pools: result.data.pools.map((pool, at) => PoolSpec.parse(toSpec(pool, isReferencePool(rawPools[at] ?? {})))),
	};
	const problems = [...cross, ...quotaChecks(value)];
	return problems.length === 0 ? { ok: true, value } : { ok: false, problems };
}

/** Both kinds, without a cross problem where the schema has already spoken. */
function merged(own: readonly DocumentProblem[], cross: readonly DocumentProblem[]): DocumentProblem[] {
	const spoken = new Set(own.map((problem) => problem.path));
	return [...own, ...cross.filter((problem) => !spoken.has(problem.path))];
}

/** The wire form of the pool, with the defaults of its form and role. */
function toSpec(pool: DeployPool, isReference: boolean): z.output<typeof PoolSpecSchema> {
	const { desired_running: running, desired_warm: warm, ...rest } = pool;
	return {
		...rest,
		image: pool.image ?? null,
		flake: pool.flake ?? (isReference ? '.' : null),
		desired: pool.desired ?? { running: running ?? (isReference ? 1 : 0), warm: warm ?? 0, sleeping: 0 },
		runtime_policy: { ...RuntimePolicy.encode(defaultRuntimePolicy(pool.role)), ...pool.runtime_policy },
	};
}

/**
 * The reference never restricted the names of secrets and never used them. In a manifest of its form they become
 * environment names: `anthropic-key` is ANTHROPIC_KEY. Two that become the same are left as they are, and refused.
 */
function withEnvironmentNames(toml: unknown): unknown {
	const root = table(toml);
	const secrets = table(root['secrets']);
	if (!list(root['pools']).every(isReferencePool) || Object.keys(secrets).length === 0) return toml;
	const renamed = Object.entries(secrets).map(([name, value]) => [name.toUpperCase().replaceAll(/[-.]/g, '_'), value] as const);
	if (new Set(renamed.map(([name]) => name)).size < renamed.length) return toml;
	return { ...root, secrets: Object.fromEntries(renamed) };
}
