// The gateway's routing table: the reference's document, with the rules of our design for overlap and order.
import * as z from 'zod/mini';
import { type CodecValue, codec } from '../codec/codec.ts';
import { PoolIdSchema } from '../ids.ts';
import { canonicalCidr } from './cidr.ts';

const port = z.int().check(z.gte(1), z.lte(65_535));

/** Null and absent mean the same: the criterion is not used. */
const criterion = <S extends z.ZodMiniType>(schema: S) => z._default(z.nullable(schema), null);

const MatchRuleSchema = z.strictObject({
	/** A TCP listener on the tenant's address. */
	port: criterion(port),
	/** Matches at segment boundaries: `/app` takes `/app` and `/app/x`, not `/apple`. */
	path_prefix: criterion(z.string().check(z.regex(/^\/[^\s?#]*$/, 'must start with / and have no ?, # or space'))),
	source_cidr: criterion(
		z.string().check(z.refine((text) => canonicalCidr(text) !== undefined, 'must be an address range such as 10.0.0.0/8')),
	),
});

const InstanceSelectorSchema = z.union([z.enum(['any', 'least_connections']), z.strictObject({ by_ip: z.string() })]);

export const RouteSchema = z.strictObject({
	name: z._default(z.string().check(z.maxLength(63)), ''),
	/** At least one criterion; all that are given must match. */
	match_rule: MatchRuleSchema.check(
		z.refine((rule) => Object.values(rule).some((value) => value !== null), 'must have a port, path_prefix or source_cidr'),
	),
	target: z.strictObject({
		pool_id: PoolIdSchema,
		instance_selector: z._default(InstanceSelectorSchema, 'any'),
		/** Port in the instance; null: the port of the rule. */
		target_port: criterion(port),
	}),
	/** Take the prefix off before the request is passed on. */
	strip: z.optional(z.boolean()),
});
export type Route = CodecValue<typeof Route>;
export const Route = codec(RouteSchema);

export const RoutingTable = codec(z.strictObject({ routes: z._default(z.array(RouteSchema), []) }));
export type RoutingTable = CodecValue<typeof RoutingTable>;

/** What decides about a match, in one canonical text: two routes with the same text overlap. */
export function routeKey(rule: Route['matchRule']): string {
	const prefix = rule.pathPrefix === null ? '' : rule.pathPrefix.replace(/\/+$/, '') || '/';
	const cidr = rule.sourceCidr === null ? '' : (canonicalCidr(rule.sourceCidr) ?? rule.sourceCidr);
	return `${rule.port ?? ''} ${prefix} ${cidr}`;
}

/** Pairs of routes (by index) that one request would match with equal right; the table is refused while there are any. */
export function overlappingRoutes(routes: readonly Route[]): { readonly first: number; readonly second: number }[] {
	const seen = new Map<string, number>();
	const pairs: { first: number; second: number }[] = [];
	for (const [second, route] of routes.entries()) {
		const key = routeKey(route.matchRule);
		const first = seen.get(key);
		if (first === undefined) seen.set(key, second);
		else pairs.push({ first, second });
	}
	return pairs;
}
