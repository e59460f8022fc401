// Makes a stream take strings as bytes. Used on every HTTP/2 stream of the link.
// Why: Node's HTTP/2 streams keep no copy of a latin1 string that is written to them, and send freed memory in its place
// (seen with Node 24.21: the first 16 bytes of an HTTP/1.1 head that Node's own http wrote arrived overwritten).
import type { Duplex } from 'node:stream';

/** Changes the stream in place and returns it. */
export function bytesOnly<S extends Duplex>(stream: S): S {
	const plain: Duplex = stream;
	const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
	const end = stream.end.bind(stream) as (...args: unknown[]) => S;
	plain.write = (chunk: unknown, ...rest: readonly unknown[]): boolean => write(...asBytes(chunk, rest));
	plain.end = (chunk?: unknown, ...rest: readonly unknown[]): S => end(...asBytes(chunk, rest));
	return stream;
}

/** The arguments with a string and its encoding replaced by bytes; everything else as it is. */
function asBytes(chunk: unknown, rest: readonly unknown[]): readonly unknown[] {
	if (typeof chunk !== 'string') return [chunk, ...rest];
	const [encoding] = rest;
	return typeof encoding === 'string'
		? [Buffer.from(chunk, encoding as BufferEncoding), ...rest.slice(1)]
		: [Buffer.from(chunk), ...rest.filter((argument) => argument !== undefined && argument !== null)];
}
