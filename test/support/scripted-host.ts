// A host and its guests in memory, for tests of lifecycle: strict where the real ones are (one tree per instance, incarnations
// only rise, nothing thaws that is not frozen), scripted where a test wants a failure, a stall or a lie.
import { Duplex } from 'node:stream';
import {
	decodeGuestRequest,
	encodeFrame,
	encodeGuestResponse,
	FrameParser,
	type GuestRequest,
	type GuestResponse,
	type InstanceId,
	MvmError,
} from '@mvm/protocol';
import type { Link, LinkHost, LinkIdentity, LinkState } from '../../packages/mvm/src/ports/link.ts';
import type { Observed, Runtime, RuntimeCapabilities } from '../../packages/mvm/src/ports/runtime.ts';

interface Tree {
	state: Observed['state'];
	incarnation: number;
	hibernated: boolean;
}

/** What a test may change: thrown before the call has any effect. */
export type Fault = (call: string, id: InstanceId) => Promise<void> | void;
/** What a test may let a guest answer; undefined: the polite answer. */
export type GuestScript = (
	request: GuestRequest,
	id: InstanceId,
) => Promise<GuestResponse | undefined> | GuestResponse | undefined;

export class ScriptedHost {
	readonly trees = new Map<InstanceId, Tree>();
	readonly calls: string[] = [];
	fault: Fault = () => {};
	guest: GuestScript = () => undefined;
	#slots = 0;
	readonly #links = new Map<InstanceId, ScriptedLink>();

	count(call: string): number {
		return this.calls.filter((c) => c === call).length;
	}

	/** The process tree ends by itself. */
	crash(id: InstanceId): void {
		const tree = this.trees.get(id);
		if (tree !== undefined) tree.state = 'exited';
		this.#links.get(id)?.set('down');
	}

	readonly links: LinkHost = {
		open: async ({ instanceId, identity }) => {
			const link = new ScriptedLink(instanceId, identity, this);
			this.#links.set(instanceId, link);
			if (this.trees.get(instanceId)?.state === 'running') link.set('up');
			return link;
		},
	};

	get runtime(): Runtime {
		const unsupported = async (): Promise<never> => {
			throw new MvmError('UNSUPPORTED', 'not part of this host');
		};
		const enter = async (call: string, id: InstanceId, signal: AbortSignal): Promise<void> => {
			this.calls.push(call);
			await this.fault(call, id);
			signal.throwIfAborted();
		};
		const tree = (id: InstanceId): Tree => {
			const found = this.trees.get(id);
			if (found === undefined) throw new MvmError('INSTANCE_NOT_FOUND', `${id} was never prepared`);
			return found;
		};
		const capabilities: RuntimeCapabilities = {
			driver: 'scripted',
			isolation: 'namespaces',
			freeze: true,
			snapshot: true,
			bridgeNetwork: false,
			conditions: [],
		};
		return {
			capabilities: async () => capabilities,
			prepare: async ({ instanceId }, { signal }) => {
				await enter('prepare', instanceId, signal);
				const dataFresh = !this.trees.has(instanceId);
				if (dataFresh) this.trees.set(instanceId, { state: 'absent', incarnation: 0, hibernated: false });
				this.#slots += 1;
				return { slot: this.#slots, linkDir: '/nowhere', conditions: [], dataFresh };
			},
			boot: async ({ instanceId, incarnation }, { signal }) => {
				await enter('boot', instanceId, signal);
				const it = tree(instanceId);
				if (it.state === 'running' || it.state === 'frozen') throw new MvmError('ALREADY_RUNNING', `${instanceId} lives`);
				rise(it, incarnation);
				it.state = 'running';
				this.#links.get(instanceId)?.set('up');
				return observed(instanceId, it);
			},
			freeze: async (id, { signal }) => {
				await enter('freeze', id, signal);
				if (tree(id).state !== 'running') throw new MvmError('NOT_RUNNING', `${id} is ${tree(id).state}`);
				tree(id).state = 'frozen';
				return observed(id, tree(id));
			},
			thaw: async ({ instanceId, incarnation }, { signal }) => {
				await enter('thaw', instanceId, signal);
				const it = tree(instanceId);
				if (it.state !== 'frozen') throw new MvmError('NOT_RUNNING', `${instanceId} is ${it.state}`);
				rise(it, incarnation);
				it.state = 'running';
				it.hibernated = false;
				this.#links.get(instanceId)?.set('stale');
				return observed(instanceId, it);
			},
			snapshot: async (id, { signal }) => {
				await enter('snapshot', id, signal);
				if (tree(id).state !== 'frozen') throw new MvmError('NOT_QUIESCENT', `${id} is ${tree(id).state}`);
				tree(id).hibernated = true;
				return { chargedBeforeBytes: 2, chargedAfterBytes: 1, swapBytes: 1, rounds: 1 };
			},
			stop: async ({ instanceId }, { signal }) => {
				await enter('stop', instanceId, signal);
				const it = tree(instanceId);
				if (it.state === 'running' || it.state === 'frozen') it.state = 'exited';
				it.hibernated = false;
				this.#links.get(instanceId)?.set('down');
				return observed(instanceId, it);
			},
			destroy: async (id, { signal }) => {
				await enter('destroy', id, signal);
				this.trees.delete(id);
			},
			inspect: async (id) => {
				const it = this.trees.get(id);
				return it === undefined ? undefined : observed(id, it);
			},
			adopt: async () => [...this.trees].map(([id, it]) => observed(id, it)),
			writeSecrets: async ({ instanceId }, { signal }) => enter('writeSecrets', instanceId, signal),
			prefetch: unsupported,
			restore: unsupported,
			checkpointData: unsupported,
			restoreData: unsupported,
			installImage: unsupported,
			listImages: async () => [],
			gcImages: async () => [],
			logs: async () => 'last words',
		};
	}
}

function rise(tree: Tree, incarnation: number): void {
	if (incarnation <= tree.incarnation) throw new MvmError('INCARNATION_STALE', `${incarnation} is not above ${tree.incarnation}`);
	tree.incarnation = incarnation;
}

function observed(instanceId: InstanceId, { state, incarnation, hibernated }: Tree): Observed {
	return { instanceId, slot: 1, state, incarnation, hibernated };
}

class ScriptedLink implements Link {
	readonly instanceId: InstanceId;
	state: LinkState = 'down';
	#identity: LinkIdentity;
	readonly #host: ScriptedHost;
	readonly #waiters = new Set<() => void>();

	constructor(instanceId: InstanceId, identity: LinkIdentity, host: ScriptedHost) {
		this.instanceId = instanceId;
		this.#identity = identity;
		this.#host = host;
	}

	set(state: LinkState): void {
		this.state = state;
		for (const look of this.#waiters) look();
	}

	until(states: readonly LinkState[], { signal }: { signal: AbortSignal }): Promise<LinkState> {
		return new Promise((resolve, reject) => {
			const look = (): void => {
				if (!states.includes(this.state)) return;
				this.#waiters.delete(look);
				resolve(this.state);
			};
			this.#waiters.add(look);
			signal.addEventListener('abort', () => reject(new MvmError('LINK_TIMEOUT', 'no guest')), { once: true });
			look();
		});
	}

	async dial(_port: number, options: { readonly allowStale?: boolean }): Promise<Duplex> {
		if (this.state === 'down' || (this.state === 'stale' && options.allowStale !== true))
			throw new MvmError('LINK_DOWN', 'no guest');
		const parser = new FrameParser();
		const host = this.#host;
		const { instanceId } = this;
		const stream: Duplex = new Duplex({
			read() {},
			write(chunk: Uint8Array, _encoding, done) {
				done();
				const [wire] = parser.push(chunk);
				if (wire === undefined) return;
				const request = decodeGuestRequest(wire);
				if (request.kind === 'Unknown') throw new Error('unknown request');
				host.calls.push(`guest:${request.kind}`);
				void Promise.resolve(host.guest(request, instanceId)).then((scripted) => {
					if (!stream.destroyed) stream.push(encodeFrame(encodeGuestResponse(scripted ?? polite(request))));
				});
			},
		});
		return stream;
	}

	expect(identity: LinkIdentity): void {
		if (identity.incarnation !== this.#identity.incarnation && this.state === 'up') this.set('stale');
		this.#identity = identity;
	}

	acknowledged(): void {
		if (this.state === 'stale') this.set('up');
	}

	async close(): Promise<void> {
		this.set('down');
	}
}

function polite(request: GuestRequest): GuestResponse {
	switch (request.kind) {
		case 'Ping':
			return { kind: 'Pong' };
		case 'Wake':
			return { kind: 'WakeAck', success: true };
		case 'SleepPrep':
			return { kind: 'SleepPrepAck', success: true, detail: null };
		case 'PostRestore':
			return { kind: 'PostRestoreAck', success: true, detail: null };
		case 'CheckpointIntegrations':
			return { kind: 'CheckpointResult', success: true, failed: [], detail: null };
		case 'SupervisorStatus':
			return {
				kind: 'SupervisorStatus',
				workload: { state: 'ready', pid: 1, restarts: 0, lastExit: null, lastLogLines: [] },
				inFlightForwards: 0,
				busyReasons: [],
				lastActivityAt: null,
				incarnation: 1,
			};
		case 'Forward':
			return { kind: 'ForwardReady' };
		default:
			return { kind: 'Error', message: `not scripted: ${request.kind}` };
	}
}
