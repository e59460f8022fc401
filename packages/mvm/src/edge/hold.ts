// Counts the requests that wait for an instance to wake, per pool, and refuses more than the bound. Used by the gateway.
import { MvmError, type PoolId, type TenantId } from '@mvm/protocol';

export class HoldCounter {
	readonly #held = new Map<string, number>();
	readonly #limit: number;
	readonly #onChange: (held: number) => void;
	#total = 0;

	constructor(limit: number, onChange: (held: number) => void = () => {}) {
		this.#limit = limit;
		this.#onChange = onChange;
	}

	/** Takes a place; the returned handle gives it back. Throws HOLD_LIMIT when there is none. */
	enter(tenantId: TenantId, poolId: PoolId): Disposable {
		const key = `${tenantId}/${poolId}`;
		const held = this.#held.get(key) ?? 0;
		if (held >= this.#limit) {
			throw new MvmError('HOLD_LIMIT', `${held} requests wait for ${key} already`, { details: { limit: this.#limit } });
		}
		this.#change(key, 1);
		let entered = true;
		return {
			[Symbol.dispose]: () => {
				if (entered) this.#change(key, -1);
				entered = false;
			},
		};
	}

	#change(key: string, by: number): void {
		const held = (this.#held.get(key) ?? 0) + by;
		if (held === 0) this.#held.delete(key);
		else this.#held.set(key, held);
		this.#total += by;
		this.#onChange(this.#total);
	}
}
