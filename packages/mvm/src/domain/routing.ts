// Where something goes: the instance of a pool for an order key, and the gateway route for a request. Called by the
// orchestrator and the gateway. Pure: the same key over the same instances is the same answer on every host.
import { canonicalCidr, MvmError, type Route } from '@mvm/protocol';

/**
 * The instance for `key` by rendezvous hashing: each instance's score depends on nothing but key and id, the highest wins.
 * When one goes, only its keys move; when one comes, it takes its share and nothing else moves. `ids` must not be empty.
 */
export function chooseInstance<Id extends string>(key: string, ids: readonly Id[]): Id {
	let best: Id | undefined;
	let bestScore = -1;
	for (const id of ids) {
		const score = hash(`${id}\u0000${key}`);
		if (score > bestScore || (score === bestScore && best !== undefined && id < best)) {
			best = id;
			bestScore = score;
		}
	}
	if (best === undefined) throw new MvmError('INTERNAL', 'there is no instance to choose from');
	return best;
}

/** 32 bits over the UTF-16 units: FNV-1a and a last mix, so that ids that differ in one digit do not stay neighbours. */
function hash(text: string): number {
	let h = 0x811c9dc5;
	for (let at = 0; at < text.length; at += 1) h = Math.imul(h ^ text.charCodeAt(at), 0x01000193);
	h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
	h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
	return (h ^ (h >>> 16)) >>> 0;
}

/** What a gateway knows of a request when it looks for a route. */
export interface RouteRequest {
	/** The listener's port; absent for requests that came by path over the edge. */
	readonly port?: number;
	/** Of the URL, without query; absent for plain TCP. */
	readonly path?: string;
	/** As text, IPv4 or IPv6; absent where it is not known, and then no rule with a range matches. */
	readonly sourceIp?: string;
}

/** Older documents spell an absent criterion as null. */
const isGiven = <T>(criterion: T | null | undefined): criterion is T => criterion !== undefined && criterion !== null;

/** True when every criterion that the rule gives matches. */
export function matchesRule(rule: Route['matchRule'], request: RouteRequest): boolean {
	if (isGiven(rule.port) && rule.port !== request.port) return false;
	if (isGiven(rule.pathPrefix) && !hasPathPrefix(request.path, rule.pathPrefix)) return false;
	return !isGiven(rule.sourceCidr) || isInRange(request.sourceIp, rule.sourceCidr);
}

/** The route that wins: a port before none, then the longest path prefix, then the longest source range; the earlier on a tie. */
export function matchRoute(routes: readonly Route[], request: RouteRequest): Route | undefined {
	let best: Route | undefined;
	for (const route of routes) {
		if (matchesRule(route.matchRule, request) && (best === undefined || isMoreSpecific(route, best))) best = route;
	}
	return best;
}

function isMoreSpecific(a: Route, b: Route): boolean {
	for (const [left, right] of zip(specificity(a), specificity(b))) if (left !== right) return left > right;
	return false;
}
const specificity = ({ matchRule }: Route): readonly [number, number, number] => [
	isGiven(matchRule.port) ? 1 : 0,
	isGiven(matchRule.pathPrefix) ? trimmed(matchRule.pathPrefix).length : -1,
	isGiven(matchRule.sourceCidr) ? Number(canonicalCidr(matchRule.sourceCidr)?.split('/')[1] ?? -1) : -1,
];
const zip = (a: readonly number[], b: readonly number[]): [number, number][] => a.map((value, at) => [value, b[at] ?? 0]);

const trimmed = (prefix: string): string => prefix.replace(/\/+$/, '');
/** At segment boundaries: `/app` takes `/app` and `/app/x`, not `/apple`. */
function hasPathPrefix(path: string | undefined, prefix: string): boolean {
	const short = trimmed(prefix);
	return path !== undefined && (path === short || path.startsWith(`${short}/`));
}

function isInRange(ip: string | undefined, cidr: string): boolean {
	const range = canonicalCidr(cidr);
	if (ip === undefined || range === undefined) return false;
	// A listener on :: reports IPv4 callers in this mapped form.
	const address = ip.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
	if (address.includes(':') !== range.includes(':')) return false;
	return canonicalCidr(`${address}/${range.split('/')[1]}`) === range;
}
