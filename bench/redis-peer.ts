// The other peer of durable ingress: Redis with an append-only file that is synced at every write, over its Unix socket. Only where
// redis-server is installed; it says so otherwise. Started by ingress.ts.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

export interface RedisPeer extends AsyncDisposable {
	/** Appends one entry with each of `inFlight` clients, again and again; milliseconds of every one. */
	run(input: { inFlight: number; seconds: number; body: string }): Promise<number[]>;
}

/** Undefined when it is not installed. */
export async function startRedis(): Promise<RedisPeer | undefined> {
	const found = (process.env['PATH'] ?? '').split(delimiter).some((folder) => isProgram(join(folder, 'redis-server')));
	if (!found) return undefined;
	const dir = mkdtempSync(join(tmpdir(), 'mvm-bench-redis-'));
	const path = join(dir, 'redis.sock');
	const flags = [
		'--port',
		'0',
		'--unixsocket',
		path,
		'--dir',
		dir,
		'--appendonly',
		'yes',
		'--appendfsync',
		'always',
		'--save',
		'',
	];
	const child: ChildProcess = spawn('redis-server', flags, { stdio: 'ignore' });
	const deadline = performance.now() + 10_000;
	while (!existsSync(path) && performance.now() < deadline) await new Promise((done) => setTimeout(done, 20));
	return {
		async run({ inFlight, seconds, body }) {
			const samples: number[] = [];
			const until = performance.now() + seconds * 1000;
			const command = Buffer.from(
				`*5\r\n$4\r\nXADD\r\n$1\r\nm\r\n$1\r\n*\r\n$1\r\nb\r\n$${Buffer.byteLength(body)}\r\n${body}\r\n`,
			);
			const one = async (): Promise<void> => {
				const socket = connect(path);
				while (performance.now() < until) {
					const began = performance.now();
					await ask(socket, command);
					samples.push(performance.now() - began);
				}
				socket.destroy();
			};
			await Promise.all(Array.from({ length: inFlight }, one));
			return samples;
		},
		async [Symbol.asyncDispose]() {
			const ended = new Promise((done) => child.once('close', done));
			child.kill('SIGTERM');
			await ended;
			rmSync(dir, { recursive: true, force: true });
		},
	};
}

/** One command, one bulk answer: `$<n>`, the id, line end. */
function ask(socket: Socket, command: Buffer): Promise<void> {
	return new Promise((resolve, reject) => {
		let text = '';
		const onData = (chunk: Buffer): void => {
			text += chunk.toString('latin1');
			if (text.split('\r\n').length < 3) return;
			socket.off('data', onData);
			if (text.startsWith('$')) resolve();
			else reject(new Error(text));
		};
		socket.on('data', onData);
		socket.once('error', reject);
		socket.write(command);
	});
}

function isProgram(path: string): boolean {
	try {
		accessSync(path, constants.X_OK);
		return true;
	} catch {
		return false;
	}
}
