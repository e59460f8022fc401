// Which host uids an instance's users are. As root every slot owns a range of 65536; otherwise everything is one uid.
// Called by the process driver; refuses ranges that somebody else on this host uses or was promised.
import { existsSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { allPids, uidOf } from './process-table.ts';

const FIRST_UID = 200_000;
const RANGE = 65_536;
/** Inner uid of the workload; the supervisor is 0, executor n is 2001 + n. */
export const WORKLOAD_UID = 1000;

export interface UidRange {
	/** First host uid of the range; gids are the same numbers. */
	readonly base: number;
	readonly count: number;
}

/** The range of a slot; undefined without root, where all of an instance is the caller's own uid. */
export function uidRange(slot: number): UidRange {
	return { base: FIRST_UID + RANGE * slot, count: RANGE };
}

/** Ranges in `/etc/subuid` form (`name:start:count`), as other tools were promised them. */
export function parseSubids(text: string): UidRange[] {
	return text
		.split('\n')
		.map((line) => line.trim().split(':'))
		.filter((fields) => fields.length === 3)
		.map(([, start, count]) => ({ base: Number(start), count: Number(count) }))
		.filter(({ base, count }) => Number.isSafeInteger(base) && Number.isSafeInteger(count));
}

export function overlaps(a: UidRange, b: UidRange): boolean {
	return a.base < b.base + b.count && b.base < a.base + a.count;
}

/** Who else uses the range now: subordinate ids of other tools, or live processes. Empty when it is free. */
export function foreignUses(range: UidRange): string[] {
	const uses: string[] = [];
	for (const file of ['/etc/subuid', '/etc/subgid']) {
		const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
		if (parseSubids(text).some((other) => overlaps(range, other))) uses.push(file);
	}
	for (const pid of allPids()) {
		const uid = uidOf(pid);
		if (uid !== undefined && uid >= range.base && uid < range.base + range.count) uses.push(`process ${pid}`);
	}
	return uses;
}

/**
 * Claims of uid ranges between several hostds on one host, one file per slot holding the owner's data folder. A claim
 * whose data folder has no record of the slot any more is dead and may be taken over.
 */
export class UidClaims {
	readonly #directory: string;
	readonly #owner: string;

	constructor(options: { readonly directory: string; readonly owner: string }) {
		this.#directory = options.directory;
		this.#owner = options.owner;
	}

	/** True when the range of the slot is now ours. Calling again for our own is fine. */
	claim(slot: number): boolean {
		mkdirSync(this.#directory, { recursive: true, mode: 0o755 });
		for (const attempt of [1, 2]) {
			try {
				writeFileSync(this.#file(slot), `${this.#owner}\n`, { flag: 'wx', mode: 0o644 });
				return true;
			} catch (error) {
				if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
			}
			const owner = readFileSync(this.#file(slot), 'utf8').trim();
			if (owner === this.#owner) return true;
			if (attempt === 2 || existsSync(join(owner, 'hostd', 'slots', `${slot}.json`))) return false;
			unlinkSync(this.#file(slot));
		}
		return false;
	}

	release(slot: number): void {
		try {
			if (readFileSync(this.#file(slot), 'utf8').trim() === this.#owner) unlinkSync(this.#file(slot));
		} catch {
			// Gone with the last boot (the folder lies in /run): nothing to release.
		}
	}

	#file(slot: number): string {
		return join(this.#directory, String(slot));
	}
}
