// Address ranges in one canonical spelling, so that equal ranges are equal texts. IPv4 in full, IPv6 by expansion.

/** `10.1.2.3/8` → `10.0.0.0/8`; a bare address counts as a range of one. Nothing when it is no range. */
export function canonicalCidr(text: string): string | undefined {
	const [address, bits, ...more] = text.split('/');
	if (address === undefined || more.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined;
	const groups = address.includes(':') ? ipv6(address) : ipv4(address);
	if (!groups) return undefined;
	const width = groups.length === 4 ? 8 : 16;
	const length = bits === undefined ? groups.length * width : Number(bits);
	if (length > groups.length * width) return undefined;
	const masked = groups.map((group, i) => {
		const kept = Math.max(0, Math.min(width, length - i * width));
		return group - (group % 2 ** (width - kept));
	});
	return `${width === 8 ? masked.join('.') : masked.map((g) => g.toString(16)).join(':')}/${length}`;
}

function ipv4(text: string): number[] | undefined {
	const parts = text.split('.');
	if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) return undefined;
	return parts.map(Number);
}

function ipv6(text: string): number[] | undefined {
	const halves = text.split('::');
	if (halves.length > 2) return undefined;
	const [head = [], tail = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
	const gap = halves.length === 2 ? 8 - head.length - tail.length : 0;
	if (gap < (halves.length === 2 ? 1 : 0)) return undefined;
	const groups = [...head, ...Array.from({ length: gap }, () => '0'), ...tail];
	if (groups.length !== 8 || !groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
	return groups.map((group) => Number.parseInt(group, 16));
}
