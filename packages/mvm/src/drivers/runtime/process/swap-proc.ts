// Decodes the way /proc writes paths (/proc/swaps, /proc/mounts). Pure.

/** The path behind `\040` and its like; a trailing " (deleted)" stays, so that a removed file never looks present. */
export function decodeProcPath(text: string): string {
	const bytes: number[] = [];
	const raw = Buffer.from(text, 'utf8');
	for (let at = 0; at < raw.length; at += 1) {
		const octal = raw[at] === 0x5c ? /^[0-7]{3}/.exec(raw.toString('latin1', at + 1, at + 4))?.[0] : undefined;
		if (octal === undefined) bytes.push(raw[at] ?? 0);
		else {
			bytes.push(Number.parseInt(octal, 8));
			at += 3;
		}
	}
	return Buffer.from(bytes).toString('utf8');
}
