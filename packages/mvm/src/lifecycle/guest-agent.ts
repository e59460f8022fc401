// The host's typed words to one guest agent: one framed request and one framed answer per stream to port 52. Everything a guest
// says is checked and bounded; a guest that stalls or lies costs one deadline and one clear error.
import type { Duplex } from 'node:stream';
import {
	AGENT_PORT,
	decodeGuestResponse,
	encodeFrame,
	encodeGuestRequest,
	FrameParser,
	type GuestRequest,
	type GuestResponse,
	MvmError,
	parsePathSafeName,
	type SupervisorStatus,
} from '@mvm/protocol';
import type { Link } from '../ports/link.ts';

interface CallOptions {
	readonly signal: AbortSignal;
}
type Answer<K extends GuestResponse['kind']> = Extract<GuestResponse, { readonly kind: K }>;
type PostRestore = Extract<GuestRequest, { readonly kind: 'PostRestore' }>;

export class GuestAgent {
	readonly #link: Link;

	constructor(link: Link) {
		this.#link = link;
	}

	async ping(options: CallOptions): Promise<void> {
		await this.#ask({ kind: 'Ping' }, 'Pong', options);
	}

	integrationStatus(options: CallOptions): Promise<Answer<'IntegrationStatusReport'>> {
		return this.#ask({ kind: 'IntegrationStatus' }, 'IntegrationStatusReport', options);
	}

	/** Does not throw when one fails: `failed` names them, the caller knows which are critical. */
	checkpointIntegrations(integrations: readonly string[], options: CallOptions): Promise<Answer<'CheckpointResult'>> {
		return this.#ask(
			{ kind: 'CheckpointIntegrations', integrations: integrations.map(parsePathSafeName) },
			'CheckpointResult',
			options,
		);
	}

	sleepPrep(drainTimeoutSecs: number, options: CallOptions): Promise<Answer<'SleepPrepAck'>> {
		return this.#ask({ kind: 'SleepPrep', drainTimeoutSecs }, 'SleepPrepAck', options);
	}

	/** Lifts a fence and runs what has to run after a rest. Throws GUEST_ERROR when the guest says that it failed. */
	async wake(options: CallOptions): Promise<void> {
		const { success } = await this.#ask({ kind: 'Wake' }, 'WakeAck', options);
		if (!success) throw new MvmError('GUEST_ERROR', 'the guest could not restore its integrations');
	}

	/** The only message that a guest of the previous incarnation receives. */
	async postRestore(message: Omit<PostRestore, 'kind'>, options: CallOptions): Promise<void> {
		const request: GuestRequest = { kind: 'PostRestore', ...message };
		const { success, detail } = await this.#ask(request, 'PostRestoreAck', options, { allowStale: true });
		if (!success) throw new MvmError('GUEST_ERROR', `the guest refused its new identity: ${detail ?? 'no detail'}`);
	}

	supervisorStatus(options: CallOptions): Promise<SupervisorStatus> {
		return this.#ask({ kind: 'SupervisorStatus' }, 'SupervisorStatus', options);
	}

	/** The credential that the edge needs to speak to the workload; undefined when it has none. Never logged, never shown. */
	async workloadToken(options: CallOptions): Promise<string | undefined> {
		const { token } = await this.#ask({ kind: 'WorkloadToken' }, 'WorkloadToken', options);
		return token ?? undefined;
	}

	/** A raw byte stream to 127.0.0.1:port inside the instance; the caller owns it. */
	async forward(port: number, options: CallOptions): Promise<Duplex> {
		const stream = await this.#link.dial(AGENT_PORT, options);
		try {
			stream.write(encodeFrame(encodeGuestRequest({ kind: 'Forward', port })));
			const { message, rest } = await readAnswer(stream, options.signal);
			if (message.kind !== 'ForwardReady') throw unexpected(message);
			if (rest.length > 0) stream.unshift(rest);
			return stream;
		} catch (error) {
			stream.destroy();
			throw error;
		}
	}

	async #ask<K extends GuestResponse['kind']>(
		request: GuestRequest,
		expected: K,
		options: CallOptions,
		dial: { readonly allowStale?: boolean } = {},
	): Promise<Answer<K>> {
		const stream = await this.#link.dial(AGENT_PORT, { ...options, ...dial });
		try {
			stream.end(encodeFrame(encodeGuestRequest(request)));
			const { message } = await readAnswer(stream, options.signal);
			if (message.kind !== expected) throw unexpected(message);
			return message as Answer<K>;
		} finally {
			stream.destroy();
		}
	}
}

type Received = ReturnType<typeof decodeGuestResponse>;

function unexpected(message: Received): MvmError {
	if (message.kind === 'Error') return new MvmError('GUEST_ERROR', `the guest answered: ${message.message.slice(0, 500)}`);
	return new MvmError('GUEST_PROTOCOL', `the guest answered ${message.kind} to another question`);
}

/** Reads exactly one frame; what came behind it stays in `rest`. The stream is left as if nobody had read from it. */
function readAnswer(stream: Duplex, signal: AbortSignal): Promise<{ message: Received; rest: Buffer }> {
	const { promise, resolve, reject } = Promise.withResolvers<{ message: Received; rest: Buffer }>();
	const parser = new FrameParser();
	const finish = (settle: () => void): void => {
		stream.off('readable', onReadable).off('error', onError).off('end', onEnd).off('close', onEnd);
		signal.removeEventListener('abort', onAbort);
		settle();
	};
	const onReadable = (): void => {
		try {
			for (let chunk: Buffer | null = stream.read(); chunk !== null; chunk = stream.read()) {
				const [frame] = parser.push(chunk, { maxFrames: 1 });
				if (frame === undefined) continue;
				const message = decodeGuestResponse(frame);
				finish(() => resolve({ message, rest: Buffer.from(parser.rest()) }));
				return;
			}
		} catch (error) {
			finish(() => reject(error));
		}
	};
	const onError = (error: Error): void => finish(() => reject(new MvmError('LINK_DOWN', 'the link broke off', { cause: error })));
	const onEnd = (): void => finish(() => reject(new MvmError('GUEST_PROTOCOL', 'the guest hung up without an answer')));
	const onAbort = (): void => finish(() => reject(signal.reason));
	// Not by 'data': pausing the stream again would keep whoever takes it over from ever seeing a byte.
	stream.on('readable', onReadable).on('error', onError).on('end', onEnd).on('close', onEnd);
	signal.addEventListener('abort', onAbort, { once: true });
	if (signal.aborted) onAbort();
	return promise;
}
