// "Did you mean": the known word nearest to a mistyped one.

/** The known word within two edits (one for words of up to four letters), or nothing. */
export function closest(word: string, known: readonly string[]): string | undefined {
	const allowed = word.length <= 4 ? 1 : 2;
	let best: { word: string; edits: number } | undefined;
	for (const candidate of known) {
		const edits = distance(word.toLowerCase(), candidate.toLowerCase());
		if (edits <= allowed && (best === undefined || edits < best.edits)) best = { word: candidate, edits };
	}
	return best?.word;
}

/** Levenshtein distance with one row; the words are field names, so both are short. */
function distance(a: string, b: string): number {
	if (Math.abs(a.length - b.length) > 2) return 3;
	let row = Array.from({ length: b.length + 1 }, (_, i) => i);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++) {
			const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
			next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
		}
		row = next;
	}
	return row[b.length] ?? 0;
}
