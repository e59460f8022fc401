// The host's end of a probe guest: listens in the link directory and asks. For the runtime contract suite only.
import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

export interface ProbeAnswer {
	readonly code?: number | string;
	readonly out?: string;
	readonly err?: string;
	readonly echo?: string;
}

export class ProbeLink implements AsyncDisposable {
	readonly #server: Server;
	readonly #waiting = new Map<number, (answer: ProbeAnswer) => void>();
	readonly #hellos: unknown[] = [];
	#onHello: (() => void) | undefined;
	#socket: Socket | undefined;
	#next = 1;

	private constructor(server: Server) {
		this.#server = server;
		server.on('connection', (socket) => this.#accept(socket));
	}

	static async listen(linkDir: string): Promise<ProbeLink> {
		const server = createServer();
		const path = join(linkDir, 'to-guest.sock');
		await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
		chmodSync(path, 0o666);
		return new ProbeLink(server);
	}

	/** The next hello of the guest: what it read from its boot descriptor. */
	async hello(): Promise<unknown> {
		while (this.#hellos.length === 0) {
			await new Promise<void>((resolve) => {
				this.#onHello = resolve;
			});
		}
		return this.#hellos.shift();
	}

	ask(question: Readonly<Record<string, unknown>>): Promise<ProbeAnswer> {
		const id = this.#next++;
		return new Promise((resolve, reject) => {
			if (this.#socket === undefined) return reject(new Error('no guest is connected'));
			this.#waiting.set(id, resolve);
			this.#socket.write(`${JSON.stringify({ id, ...question })}\n`);
		});
	}

	/** Runs a program inside, as the workload unless told otherwise. */
	run(argv: readonly string[], uid: number | 'supervisor' = 1000): Promise<ProbeAnswer> {
		return this.ask({ argv, ...(uid === 'supervisor' ? {} : { uid }) });
	}

	sh(script: string, uid: number | 'supervisor' = 1000): Promise<ProbeAnswer> {
		return this.run(['/bin/sh', '-c', script], uid);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#socket?.destroy();
		await new Promise<void>((resolve) => this.#server.close(() => resolve()));
	}

	#accept(socket: Socket): void {
		this.#socket = socket;
		let pending = '';
		socket.on('error', () => {});
		socket.on('data', (chunk) => {
			const lines = (pending + chunk.toString()).split('\n');
			pending = lines.pop() ?? '';
			for (const line of lines) {
				const message = JSON.parse(line) as ProbeAnswer & { hello?: unknown; id: number };
				if (message.hello !== undefined) {
					this.#hellos.push(message.hello);
					this.#onHello?.();
				} else this.#waiting.get(message.id)?.(message);
			}
		});
	}
}
