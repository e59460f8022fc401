// Which upstreams an instance may reach through the host: public addresses, or what the operator listed by `host:port`.
import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { MvmError } from '@mvm/protocol';

const internal = new BlockList();
for (const [net, bits] of [
	['0.0.0.0', 8],
	['10.0.0.0', 8],
	['100.64.0.0', 10],
	['127.0.0.0', 8],
	['169.254.0.0', 16],
	['172.16.0.0', 12],
	['192.0.0.0', 24],
	['192.168.0.0', 16],
	['198.18.0.0', 15],
	['224.0.0.0', 3],
] as const) {
	internal.addSubnet(net, bits, 'ipv4');
}
for (const [net, bits] of [
	['::', 127],
	['64:ff9b::', 96],
	['fc00::', 7],
	['fe80::', 10],
	['ff00::', 8],
] as const) {
	internal.addSubnet(net, bits, 'ipv6');
}

/** True for loopback, link-local, private, shared, multicast and other addresses that are not the public internet. */
export function isInternalAddress(address: string): boolean {
	const family = isIP(address);
	if (family === 0) return true;
	const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
	if (mapped !== undefined) return internal.check(mapped, 'ipv4');
	return internal.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Resolves the upstream on the host and returns the address to connect to. Throws UPSTREAM_REFUSED. */
export async function checkUpstream(url: URL, allow: readonly string[]): Promise<string> {
	const host = url.hostname.replace(/^\[|\]$/g, '');
	const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
	const addresses = isIP(host) === 0 ? (await lookup(host, { all: true })).map((entry) => entry.address) : [host];
	const [first] = addresses;
	if (first === undefined) throw new MvmError('UPSTREAM_FAILED', `${host} has no address`);
	if (allow.includes(`${host}:${port}`)) return first;
	// One internal answer among several is enough to refuse: the resolver may be in somebody else's hands.
	if (addresses.some(isInternalAddress)) {
		throw new MvmError('UPSTREAM_REFUSED', `${host}:${port} is not a public address`, {
			hint: `the operator can allow it: upstream_allow = ["${host}:${port}"] in mvm.toml`,
		});
	}
	return first;
}
