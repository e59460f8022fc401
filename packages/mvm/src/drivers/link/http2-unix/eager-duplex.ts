// A stream over a socket that always takes what it is given. Used under every HTTP/2 session of the link.
// Why: Node's HTTP/2 stops reading a connection while a write to it is unfinished. With windows larger than the socket's
// buffer both ends can then wait for each other for ever (reproduced with 20 busy streams on Node 24.21). One end that never
// reports an unfinished write cannot deadlock. What piles up is bounded by the HTTP/2 windows, and by `maxPendingBytes`
// against a guest that makes us write control frames without reading them.
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export class EagerDuplex extends Duplex {
	readonly #socket: Socket;
	readonly #maxPendingBytes: number;

	/** Takes the socket over; `first` are bytes that were already read from it. */
	constructor(socket: Socket, options: { readonly first: Uint8Array; readonly maxPendingBytes: number }) {
		super({ readableHighWaterMark: 65_536, writableHighWaterMark: 65_536 });
		this.#socket = socket;
		this.#maxPendingBytes = options.maxPendingBytes;
		if (options.first.length > 0) this.push(options.first);
		socket.on('data', (chunk) => {
			if (!this.push(chunk)) socket.pause();
		});
		socket.on('end', () => this.push(null));
		socket.on('close', () => this.destroy());
		socket.on('error', (error) => this.destroy(error));
		socket.pause();
	}

	override _read(): void {
		this.#socket.resume();
	}

	override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
		this.#socket.write(chunk);
		done(this.#overfull());
	}

	override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
		this.#socket.cork();
		for (const { chunk } of chunks) this.#socket.write(chunk);
		this.#socket.uncork();
		done(this.#overfull());
	}

	override _final(done: (error?: Error | null) => void): void {
		this.#socket.end(done);
	}

	override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
		this.#socket.destroy();
		done(error);
	}

	#overfull(): Error | null {
		if (this.#socket.writableLength <= this.#maxPendingBytes) return null;
		return new Error(`the guest left ${this.#socket.writableLength} bytes unread`);
	}
}
