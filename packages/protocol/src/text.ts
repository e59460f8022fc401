// UTF-8 in and out. The two classes exist in every runtime we use, but not in the type library of a package without Node.
declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (
	label: string,
	options: { fatal: boolean; ignoreBOM: boolean },
) => { decode(bytes: Uint8Array): string };

export function encodeUtf8(text: string): Uint8Array {
	return new TextEncoder().encode(text);
}

/** Throws a TypeError when the bytes are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
	return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}
