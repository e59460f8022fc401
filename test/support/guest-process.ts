// Runs the guest agent as an ordinary child process in a temporary directory, with a real link host on the other side. No root.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Writable } from 'node:stream';
import {
	decodeGuestResponse,
	encodeFrame,
	encodeGuestRequest,
	FrameParser,
	type GuestRequest,
	type GuestResponse,
	parseInstanceId,
	type UnknownMessage,
} from '@mvm/protocol';
import { pino } from 'pino';
import { makeHttp2UnixLinkHost } from '../../packages/mvm/src/drivers/link/http2-unix/link-host.ts';
import type { Clock } from '../../packages/mvm/src/ports/clock.ts';
import type { DialHandler, Link, LinkIdentity } from '../../packages/mvm/src/ports/link.ts';

const MAIN = join(import.meta.dirname, '../../packages/guest/src/main.ts');
const clock: Clock = {
	now: () => Date.now(),
	monotonic: () => performance.now(),
	sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
	after: (ms, run) => {
		const timer = setTimeout(run, ms);
		return () => clearTimeout(timer);
	},
};
const linkHost = makeHttp2UnixLinkHost({ clock, log: pino({ enabled: false }) });

export const withinMs = (ms: number): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(ms) });

export interface GuestProcess extends AsyncDisposable {
	readonly dir: string;
	readonly data: string;
	readonly run: string;
	readonly link: Link;
	readonly child: ChildProcess;
	/** Everything the agent wrote so far. */
	output(): string;
	ask(request: GuestRequest, timeoutMs?: number): Promise<GuestResponse | UnknownMessage>;
	/** Sends any bytes on a fresh stream to port 52 and returns the answer. */
	askRaw(bytes: Uint8Array, timeoutMs?: number): Promise<GuestResponse | UnknownMessage>;
	forward(port: number): Promise<Duplex>;
	/** Starts the agent again (after a kill), with this identity. */
	restart(identity: LinkIdentity): Promise<void>;
	reopen(identity: LinkIdentity, previous?: LinkIdentity): Promise<Link>;
}

export interface GuestOptions {
	/** Merged over a minimal GuestConfig, in wire form. */
	readonly config?: Record<string, unknown>;
	readonly dropins?: Readonly<Record<string, string>>;
	readonly identity?: LinkIdentity;
	readonly handlers?: ReadonlyMap<number, DialHandler>;
	/** Program and first arguments; the sources by default. */
	readonly program?: readonly string[];
}

export async function startGuest(options: GuestOptions = {}): Promise<GuestProcess> {
	const dir = await mkdtemp(join(tmpdir(), 'mvm-guest-'));
	const at = (name: string): string => join(dir, name);
	for (const name of ['link', 'run', 'data', 'secrets', 'dropins']) await mkdir(at(name));
	for (const [name, text] of Object.entries(options.dropins ?? {})) await writeFile(join(at('dropins'), name), text);
	const config = { instance_id: 'i-0123abcd', pool_id: 'workers', tenant_id: 'acme', vcpus: 1, mem_mib: 256, ...options.config };
	await writeFile(at('config.json'), JSON.stringify(config));
	const identity = options.identity ?? { incarnation: 1, token: 'first-token' };
	const instanceId = parseInstanceId('i-0123abcd');
	const handlers = options.handlers ?? new Map<number, DialHandler>();
	let link = await linkHost.open({ instanceId, linkDir: at('link'), identity, handlers });
	let output = '';
	let child: ChildProcess;
	const boot = async (as: LinkIdentity): Promise<void> => {
		const flags = ['config', 'link', 'run', 'data', 'secrets', 'dropins'].flatMap((name) => [
			`--${name}`,
			at(name === 'config' ? 'config.json' : name),
		]);
		const [program = process.execPath, ...args] = options.program ?? [process.execPath, MAIN];
		child = spawn(program, [...args, ...flags, '--boot-fd', '3'], {
			stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
			env: { PATH: process.env['PATH'] ?? '' },
		});
		(child.stdio[3] as Writable).end(JSON.stringify(as));
		for (const stream of [child.stdout, child.stderr])
			stream?.on('data', (chunk) => {
				output += String(chunk);
			});
		await link.until(['up'], withinMs(10_000));
	};
	await boot(identity);
	const exchange = async (bytes: Uint8Array, timeoutMs: number, isStale: boolean) => {
		const stream = await link.dial(52, { ...withinMs(timeoutMs), allowStale: isStale });
		stream.write(bytes);
		return { stream, message: await readOne(stream, timeoutMs) };
	};
	const askRaw = async (bytes: Uint8Array, timeoutMs = 5000, isStale = false): Promise<GuestResponse | UnknownMessage> => {
		const { stream, message } = await exchange(bytes, timeoutMs, isStale);
		stream.destroy();
		return message;
	};
	return {
		dir,
		data: at('data'),
		run: at('run'),
		get link() {
			return link;
		},
		get child() {
			return child;
		},
		output: () => output,
		askRaw,
		ask: (request, timeoutMs) => askRaw(encodeFrame(encodeGuestRequest(request)), timeoutMs, request.kind === 'PostRestore'),
		async forward(port) {
			const { stream, message } = await exchange(encodeFrame(encodeGuestRequest({ kind: 'Forward', port })), 5000, false);
			if (message.kind !== 'ForwardReady') throw new Error(JSON.stringify(message));
			return stream;
		},
		restart: boot,
		async reopen(next, previous) {
			await link.close();
			link = await linkHost.open({
				instanceId,
				linkDir: at('link'),
				identity: next,
				handlers,
				...(previous ? { previous } : {}),
			});
			return link;
		},
		async [Symbol.asyncDispose]() {
			if (child.exitCode === null && child.signalCode === null) {
				const exited = new Promise((done) => child.once('exit', done));
				child.kill('SIGTERM');
				const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
				await exited;
				clearTimeout(timer);
			}
			await link.close();
			await rm(dir, { recursive: true, force: true });
		},
	};
}

async function readOne(stream: Duplex, timeoutMs: number): Promise<GuestResponse | UnknownMessage> {
	const parser = new FrameParser();
	const { promise, resolve, reject } = Promise.withResolvers<GuestResponse | UnknownMessage>();
	const timer = setTimeout(() => reject(new Error('no answer')), timeoutMs);
	const onData = (chunk: Buffer): void => {
		const [wire] = parser.push(chunk, { maxFrames: 1 });
		if (wire === undefined) return;
		stream.off('data', onData).pause();
		const rest = parser.rest();
		if (rest.length > 0) stream.unshift(Buffer.from(rest));
		resolve(decodeGuestResponse(wire));
	};
	stream.on('data', onData).once('end', () => reject(new Error('the guest hung up')));
	try {
		return await promise;
	} finally {
		clearTimeout(timer);
	}
}

/** Waits until `look` returns something; fails with the last output otherwise. */
export async function eventually<T>(
	look: () => Promise<T | undefined | false> | T | undefined | false,
	timeoutMs = 5000,
): Promise<T> {
	const until = performance.now() + timeoutMs;
	for (;;) {
		const found = await look();
		if (found !== undefined && found !== false) return found as T;
		if (performance.now() > until) throw new Error(`not within ${timeoutMs} ms: ${look}`);
		await new Promise((done) => setTimeout(done, 20));
	}
}

export const readText = (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined);
