// An instance for tests of ingress and edge: a real HTTP server reached through in-memory byte streams, behind the same
// door the orchestrator offers. Wakes once on first use; the test scripts the answers and looks at what arrived.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import type { InstanceId } from '@mvm/protocol';
import type { AcquireInput, Acquirer, AwakeLease } from '../../packages/mvm/src/orchestrator/index.ts';

export interface Arrived {
	readonly method: string;
	readonly url: string;
	readonly headers: IncomingMessage['headers'];
	readonly body: string;
}

export interface ScriptedInstance extends Acquirer, AsyncDisposable {
	readonly arrived: Arrived[];
	readonly acquired: AcquireInput[];
	/** Leases that are held now. */
	readonly held: number;
	/** How often the instance was woken. */
	readonly wakes: number;
	readonly server: Server;
	/** Answers a request; default: 200 with the proof header. */
	respond: (request: Arrived, response: ServerResponse) => void | Promise<void>;
	/** Runs before a lease is given; throw to refuse. */
	onAcquire: (input: AcquireInput, signal: AbortSignal) => void | Promise<void>;
	/** Runs before a stream is opened; throw to refuse. */
	onForward: (port: number) => void | Promise<void>;
}

export const PROOF = { header: 'x-agent-accepted', equals: 'durable' } as const;

export function scriptedInstance(instanceId = 'i-00000001' as InstanceId): ScriptedInstance {
	const arrived: Arrived[] = [];
	const acquired: AcquireInput[] = [];
	const streams = new Set<Duplex>();
	let held = 0;
	let wakes = 0;
	const server = createServer(async (request, response) => {
		let body = '';
		for await (const chunk of request.setEncoding('utf8')) body += chunk;
		const one = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
		arrived.push(one);
		await instance.respond(one, response);
	});
	const forward = async (port: number): Promise<Duplex> => {
		await instance.onForward(port);
		const [ours, theirs] = duplexPair();
		streams.add(ours);
		ours.on('error', () => {});
		theirs.on('error', () => {});
		ours.once('close', () => {
			streams.delete(ours);
			theirs.destroy();
		});
		server.emit('connection', theirs);
		return ours.pause(); // as the link hands it out: nothing is lost before somebody reads
	};
	const instance: ScriptedInstance = {
		arrived,
		acquired,
		server,
		get held() {
			return held;
		},
		get wakes() {
			return wakes;
		},
		respond: (_request, response) => {
			response.writeHead(200, { [PROOF.header]: PROOF.equals }).end('{}');
		},
		onAcquire: () => {},
		onForward: () => {},
		async acquire(input, { signal }): Promise<AwakeLease> {
			acquired.push(input);
			await instance.onAcquire(input, signal);
			const first = wakes === 0;
			if (first) wakes += 1;
			held += 1;
			let open = true;
			return {
				instanceId,
				incarnation: 1,
				wake: { outcome: first ? 'resumed' : 'already-running', totalMs: 1, steps: [] },
				forward,
				async [Symbol.asyncDispose]() {
					if (open) held -= 1;
					open = false;
				},
			};
		},
		async [Symbol.asyncDispose]() {
			for (const stream of streams) stream.destroy();
			server.closeAllConnections();
		},
	};
	return instance;
}
