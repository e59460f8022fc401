// Keeps what was read from the store until the control API says that the tenant changed: a wake should not wait for reads whose answer
// is known. Changes go through this daemon, which calls `drop` after its commit; the age is a safety net for anything else.
import type { TenantId } from '@mvm/protocol';

interface Entry<Value> {
	readonly value: Promise<Value>;
	readonly loadedAtMs: number;
}

const MAX_AGE_MS = 600_000;
/** Strangers may ask for names that do not exist. */
const MAX_ENTRIES = 10_000;

export class UntilChanged<Value> {
	readonly #entries = new Map<string, Entry<Value>>();
	readonly #monotonic: () => number;

	constructor(monotonic: () => number) {
		this.#monotonic = monotonic;
	}

	/** Concurrent readers share one load; a failure is not kept. `name` tells what it is of the tenant. */
	get(tenantId: TenantId, name: string, load: () => Promise<Value>): Promise<Value> {
		const key = `${tenantId}/${name}`;
		const known = this.#entries.get(key);
		if (known !== undefined && this.#monotonic() - known.loadedAtMs < MAX_AGE_MS) return known.value;
		if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
		const entry = { value: load(), loadedAtMs: this.#monotonic() };
		this.#entries.set(key, entry);
		entry.value.catch(() => {
			if (this.#entries.get(key) === entry) this.#entries.delete(key);
		});
		return entry.value;
	}

	/** Called after a change of the tenant was committed: whoever asks from now on reads it. */
	drop(tenantId: TenantId): void {
		for (const key of this.#entries.keys()) if (key.startsWith(`${tenantId}/`)) this.#entries.delete(key);
	}
}
