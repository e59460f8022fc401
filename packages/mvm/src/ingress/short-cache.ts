// A cache in front of a store read that is made once per request: answers live for a second, concurrent readers share
// one load, failures are not kept. Used for channels, keys and gateway targets; a change shows within that second.
import type { Clock } from '../ports/clock.ts';

interface Entry<Value> {
	readonly value: Promise<Value>;
	readonly loadedAtMs: number;
}

const MAX_AGE_MS = 1_000;
/** Strangers may ask for names that do not exist, so the number of answers kept is bounded. */
const MAX_ENTRIES = 10_000;

export function shortCache<Key, Value>(
	clock: Clock,
	nameOf: (key: Key) => string,
	load: (key: Key) => Promise<Value>,
): (key: Key) => Promise<Value> {
	const entries = new Map<string, Entry<Value>>();
	return (key) => {
		const name = nameOf(key);
		const now = clock.monotonic();
		const known = entries.get(name);
		if (known !== undefined && now - known.loadedAtMs < MAX_AGE_MS) return known.value;
		if (entries.size >= MAX_ENTRIES) entries.clear();
		const entry: Entry<Value> = { value: load(key), loadedAtMs: now };
		entries.set(name, entry);
		entry.value.catch(() => {
			if (entries.get(name) === entry) entries.delete(name);
		});
		return entry.value;
	};
}
