// Which checkpoint `/data` is put back from, when the live one is damaged, missing or on another host. Called by the wake's
// restore step after each verification; says so when it falls back, and stops where a fallback is forbidden.

export interface CheckpointCandidate<Id extends string = string> {
	readonly id: Id;
	/** `bad`: it failed verification (then or earlier). */
	readonly state: 'good' | 'bad';
	readonly badReason: string | undefined;
	readonly schemaVersions: Readonly<Record<string, string>>;
	readonly frozenAtMs: number;
}
export interface SkippedCheckpoint<Id extends string = string> {
	readonly id: Id;
	readonly why: string;
}
export type CheckpointChoice<Id extends string = string> =
	/** `isFallback`: later ones were skipped; messages settled by them are delivered again. */
	| { readonly action: 'use'; readonly id: Id; readonly isFallback: boolean; readonly skipped: readonly SkippedCheckpoint<Id>[] }
	/** An integration says `rollback: never`: the instance stays down until a person decides. */
	| { readonly action: 'needs_attention'; readonly skipped: readonly SkippedCheckpoint<Id>[] }
	/** There is none to use. `skipped` is empty where there never was one: the instance starts with an empty `/data`. */
	| { readonly action: 'none'; readonly skipped: readonly SkippedCheckpoint<Id>[] };

/**
 * The newest good checkpoint that the runtime can read: none of its schema versions is newer than the runtime's own.
 * A name that the runtime does not know says nothing.
 */
export function chooseCheckpoint<Id extends string>(
	candidates: readonly CheckpointCandidate<Id>[],
	runtimeVersions: Readonly<Record<string, string>>,
	options: { readonly mayFallBack: boolean },
): CheckpointChoice<Id> {
	const skipped: SkippedCheckpoint<Id>[] = [];
	const newestFirst = candidates.toSorted((a, b) => b.frozenAtMs - a.frozenAtMs || (a.id < b.id ? 1 : -1));
	for (const candidate of newestFirst) {
		const why = unusable(candidate, runtimeVersions);
		if (why === undefined) return { action: 'use', id: candidate.id, isFallback: skipped.length > 0, skipped };
		skipped.push({ id: candidate.id, why });
		if (!options.mayFallBack) return { action: 'needs_attention', skipped };
	}
	return { action: 'none', skipped };
}

function unusable(candidate: CheckpointCandidate, runtimeVersions: Readonly<Record<string, string>>): string | undefined {
	if (candidate.state === 'bad') return candidate.badReason ?? 'it did not verify';
	for (const [name, version] of Object.entries(candidate.schemaVersions)) {
		const runtime = Object.hasOwn(runtimeVersions, name) ? runtimeVersions[name] : undefined;
		if (runtime !== undefined && compareVersions(version, runtime) > 0)
			return `it was written by ${name} ${version}, the runtime has ${runtime}`;
	}
	return undefined;
}

/** Compares dotted versions part by part, numbers as numbers; `1.2` is `1.2.0`, and `1.2-rc` is before `1.2`. */
export function compareVersions(a: string, b: string): number {
	const [left, right] = [parse(a), parse(b)];
	for (let at = 0; at < Math.max(left.parts.length, right.parts.length); at += 1) {
		const difference = (left.parts[at] ?? 0) - (right.parts[at] ?? 0);
		if (difference !== 0) return Math.sign(difference);
	}
	if (left.rest === right.rest) return 0;
	if (left.rest === '' || right.rest === '') return left.rest === '' ? 1 : -1;
	return left.rest < right.rest ? -1 : 1;
}

function parse(version: string): { readonly parts: readonly number[]; readonly rest: string } {
	const match = /^v?(\d+(?:\.\d+)*)(.*)$/s.exec(version.trim());
	if (match === null) return { parts: [], rest: version };
	return { parts: (match[1] ?? '').split('.').map(Number), rest: (match[2] ?? '').replace(/\+.*$/s, '') };
}
