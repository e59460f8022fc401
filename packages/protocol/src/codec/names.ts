// The names of fields on the two sides: snake_case on every wire, camelCase in TypeScript. Types and functions agree.

/** `drain_timeout_secs` as a type becomes `drainTimeoutSecs`. */
export type CamelKey<K> = K extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelKey<Tail>>}` : K;

/**
 * The TypeScript side of a wire type: keys of objects renamed, everything readonly. Records (objects with an index
 * signature, such as environment variables) keep their keys.
 */
export type Camel<T> = T extends string | number | boolean | bigint | null | undefined
	? T
	: T extends readonly unknown[]
		? { readonly [I in keyof T]: Camel<T[I]> }
		: T extends object
			? string extends keyof T
				? { readonly [K in keyof T]: Camel<T[K]> }
				: { readonly [K in keyof T as CamelKey<K>]: Camel<T[K]> }
			: T;

/** `drain_timeout_secs` → `drainTimeoutSecs`. */
export function camelKey(key: string): string {
	return key.replaceAll(/_(.)/g, (_, next: string) => next.toUpperCase());
}
