// What one part of a deploy file says about another: references that lead nowhere, names used twice, ports that collide.
// Works on the document as it came, so that these problems appear together with those of the schema.
import { closest } from '../codec/closest.ts';
import { type DocumentProblem, formatPath } from '../codec/problems.ts';
import { routeKey } from '../documents/routing.ts';
import { isReferencePool } from './deploy-schema.ts';
import { list, type Raw, table, text, whole } from './raw.ts';

type Report = (path: readonly PropertyKey[], message: string) => void;

/** All problems between the parts, in document order per kind of check. */
export function crossChecks(document: unknown): DocumentProblem[] {
	const problems: DocumentProblem[] = [];
	const report: Report = (path, message) => problems.push({ path: formatPath(path), message });
	const root = table(document);
	const pools = list(root['pools']);
	unique(
		pools.map((pool, p) => ({ name: text(pool['id']), path: ['pools', p, 'id'] })),
		report,
	);
	unique(
		pools.flatMap((pool, p) =>
			list(pool['ingress']).map((entry, i) => ({ name: text(entry['channel']), path: ['pools', p, 'ingress', i, 'channel'] })),
		),
		report,
	);
	for (const [p, pool] of pools.entries()) {
		checkSource(pool, p, report);
		checkNames(pool, p, report);
		checkPorts(pool, p, report);
		checkScopes(pool, p, report);
		checkSecrets(pool, p, Object.keys(table(root['secrets'])), report);
	}
	checkRoutes(pools, report);
	return problems;
}

interface Named {
	readonly name: string | undefined;
	readonly path: readonly PropertyKey[];
}

function unique(entries: readonly Named[], report: Report): void {
	const first = new Map<string, readonly PropertyKey[]>();
	for (const { name, path } of entries) {
		if (name === undefined || name === '') continue;
		const earlier = first.get(name);
		if (earlier === undefined) first.set(name, path);
		else report(path, `${JSON.stringify(name)} is used already at ${formatPath(earlier)}`);
	}
}

/** Where a pool's image comes from, and how many instances it may want without one. */
function checkSource(pool: Raw, p: number, report: Report): void {
	if (pool['image'] !== undefined && pool['flake'] !== undefined) report(['pools', p, 'flake'], 'cannot stand beside image');
	if (pool['desired'] !== undefined && (pool['desired_running'] ?? pool['desired_warm']) !== undefined)
		report(['pools', p, 'desired'], 'cannot stand beside desired_running and desired_warm');
	if (isReferencePool(pool) || pool['image'] !== undefined || pool['flake'] !== undefined) return;
	const wanted = [...Object.values(table(pool['desired'])), pool['desired_running'], pool['desired_warm']];
	if (pool['role'] !== 'gateway' || wanted.some((count) => (whole(count) ?? 0) > 0))
		report(['pools', p, 'image'], 'is required: only a gateway pool that wants no instances may be without');
}

function checkNames(pool: Raw, p: number, report: Report): void {
	const kinds = [
		['integrations', 'name'],
		['endpoints', 'name'],
		['executors', 'agent_type'],
		['secret_scopes', 'integration'],
	] as const;
	for (const [kind, key] of kinds) {
		unique(
			list(pool[kind]).map((entry, i) => ({ name: text(entry[key]), path: ['pools', p, kind, i, key] })),
			report,
		);
	}
}

/** An endpoint's port is opened by the supervisor, an ingress port by the workload: none may be wanted twice. */
function checkPorts(pool: Raw, p: number, report: Report): void {
	const endpoints = list(pool['endpoints']).map((entry, i) => ({
		name: whole(entry['guest_port'])?.toString(),
		path: ['pools', p, 'endpoints', i, 'guest_port'],
	}));
	unique(endpoints, report);
	const places = list(pool['ingress']).map((entry, i) => ({ entry, path: ['pools', p, 'ingress', i, 'guest_port'] }));
	for (const { entry, path } of places) {
		const port = whole(entry['guest_port'])?.toString();
		const taken = endpoints.find((endpoint) => port !== undefined && endpoint.name === port);
		if (taken) report(path, `${port} is the port of an endpoint already, at ${formatPath(taken.path)}`);
	}
	unique(
		places.map(({ entry, path }) => {
			const [port, at] = [whole(entry['guest_port']), text(entry['path'])];
			return { name: port === undefined || at === undefined ? undefined : `${port}${at}`, path };
		}),
		report,
	);
}

function checkScopes(pool: Raw, p: number, report: Report): void {
	const known = list(pool['integrations']).flatMap((entry) => text(entry['name']) ?? []);
	for (const [i, scope] of list(pool['secret_scopes']).entries()) {
		const name = text(scope['integration']);
		if (name !== undefined && !known.includes(name))
			report(['pools', p, 'secret_scopes', i, 'integration'], missing('is not an integration of this pool', name, known));
	}
}

function checkSecrets(pool: Raw, p: number, known: readonly string[], report: Report): void {
	const check = (name: unknown, path: readonly PropertyKey[]): void => {
		if (typeof name === 'string' && !known.includes(name)) report(path, missing('is not declared in [secrets]', name, known));
	};
	for (const [i, scope] of list(pool['secret_scopes']).entries()) {
		const keys = Array.isArray(scope['keys']) ? scope['keys'] : [];
		for (const [k, key] of keys.entries()) check(key, ['pools', p, 'secret_scopes', i, 'keys', k]);
	}
	for (const [i, endpoint] of list(pool['endpoints']).entries())
		check(table(endpoint['credential'])['secret'], ['pools', p, 'endpoints', i, 'credential', 'secret']);
	for (const [i, channel] of list(pool['ingress']).entries())
		check(table(channel['verify'])['secret'], ['pools', p, 'ingress', i, 'verify', 'secret']);
}

/** The tables of a tenant are joined, so overlap is judged over all of them. */
function checkRoutes(pools: readonly Raw[], report: Report): void {
	const known = pools.flatMap((pool) => text(pool['id']) ?? []);
	const routes = pools.flatMap((pool, p) => list(pool['routes']).map((route, i) => ({ route, path: ['pools', p, 'routes', i] })));
	unique(
		routes.map(({ route, path }) => ({ name: text(route['name']), path: [...path, 'name'] })),
		report,
	);
	const seen = new Map<string, string>();
	for (const { route, path } of routes) {
		const target = text(table(route['target'])['pool_id']);
		if (target !== undefined && !known.includes(target))
			report([...path, 'target', 'pool_id'], missing('is not a pool of this file', target, known));
		const rule = table(route['match_rule']);
		const [port, pathPrefix, sourceCidr] = [whole(rule['port']), text(rule['path_prefix']), text(rule['source_cidr'])];
		if (port === undefined && pathPrefix === undefined && sourceCidr === undefined) continue;
		const key = routeKey({ port: port ?? null, pathPrefix: pathPrefix ?? null, sourceCidr: sourceCidr ?? null });
		const label = `${JSON.stringify(text(route['name']) ?? '')} (${formatPath(path)})`;
		const earlier = seen.get(key);
		if (earlier === undefined) seen.set(key, label);
		else report([...path, 'match_rule'], `${label} matches the same requests as ${earlier}`);
	}
	for (const [p, pool] of pools.entries())
		if (list(pool['routes']).length > 0 && pool['role'] !== 'gateway')
			report(['pools', p, 'routes'], 'may stand only on a pool with role = "gateway"');
}

function missing(message: string, name: string, known: readonly string[]): string {
	const guess = closest(name, known);
	return guess === undefined ? message : `${message}; did you mean ${JSON.stringify(guess)}?`;
}
