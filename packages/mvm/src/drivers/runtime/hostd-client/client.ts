// The runtime port as the daemon sees it: every call goes to mvm-hostd. Holds no state, so both sides may restart at any time.
import { type Codec, type CodecValue, fromProblem, MvmError } from '@mvm/protocol';
import type * as z from 'zod/mini';
import type { CallOptions, DataEntry, RefusedEntry, Runtime } from '../../../ports/runtime.ts';
import { entriesOf, entryFrames } from '../hostd-rpc/entries.ts';
import { documentFrame, type Frame, parseDocument, readFrames } from '../hostd-rpc/frames.ts';
import {
	CALLS,
	CheckpointRequest,
	InstallRequest,
	InstallResult,
	RestoreResult,
	RestoreStart,
	WalkEnd,
} from '../hostd-rpc/methods.ts';
import { postDocument, postStream } from './request.ts';

/** The port over the socket. Every call may also throw HOSTD_UNAVAILABLE. */
export function makeHostdClient(options: { readonly socketPath: string }): Runtime {
	const { socketPath } = options;
	const call = async <In extends z.ZodMiniType, Out extends z.ZodMiniType>(
		name: string,
		method: { readonly request: Codec<In>; readonly response: Codec<Out> },
		input: Parameters<Codec<In>['encode']>[0],
		callOptions: CallOptions,
	): Promise<CodecValue<Codec<Out>>> => {
		const answer = await postDocument(socketPath, name, method.request.encode(input), callOptions);
		return method.response.parse(answer, { code: 'INTERNAL', what: 'the answer of hostd' }) as CodecValue<Codec<Out>>;
	};
	return {
		capabilities: (o) => call('capabilities', CALLS.capabilities, {}, o),
		prepare: (input, o) => call('prepare', CALLS.prepare, input, o),
		boot: (input, o) => call('boot', CALLS.boot, input, o),
		freeze: (instanceId, o) => call('freeze', CALLS.freeze, { instanceId }, o),
		thaw: (input, o) => call('thaw', CALLS.thaw, input, o),
		snapshot: (instanceId, o) => call('snapshot', CALLS.snapshot, { instanceId }, o),
		prefetch: (instanceId, o) => call('prefetch', CALLS.prefetch, { instanceId }, o),
		restore: (input, o) => call('restore', CALLS.restore, input, o),
		stop: (input, o) => call('stop', CALLS.stop, input, o),
		destroy: async (instanceId, o) => {
			await call('destroy', CALLS.destroy, { instanceId }, o);
		},
		inspect: async (instanceId, o) => (await call('inspect', CALLS.inspect, { instanceId }, o)).observed ?? undefined,
		adopt: async (o) => (await call('adopt', CALLS.adopt, {}, o)).observed,
		writeSecrets: async (input, o) => {
			await call('write_secrets', CALLS.write_secrets, { ...input, files: [...input.files] }, o);
		},
		checkpointData: async (instanceId, o) => {
			const body = [documentFrame('D', CheckpointRequest.encode({ instanceId }))];
			const response = await postStream(socketPath, 'checkpoint_data', body, o);
			return walkOf(readFrames(broken(response, o)));
		},
		restoreData: async (instanceId, entries, o) => {
			const response = await postStream(socketPath, 'restore_data', restoreFrames(instanceId, entries), o);
			return RestoreResult.parse(await lastDocument(readFrames(broken(response, o))));
		},
		installImage: async (recipe, o) => {
			const body = [documentFrame('D', InstallRequest.encode({ recipe }))];
			const response = await postStream(socketPath, 'install_image', body, o);
			return InstallResult.parse(await lastDocument(readFrames(broken(response, o)), o.onProgress));
		},
		listImages: async (o) => (await call('list_images', CALLS.list_images, {}, o)).images,
		gcImages: async (keep, o) => (await call('gc_images', CALLS.gc_images, { keep: [...keep] }, o)).removed,
		logs: async (input, o) => (await call('logs', CALLS.logs, input, o)).text,
	};
}

/** The first frame is pulled at once, so that a refusal comes from the call itself and not from the first entry. */
async function walkOf(
	frames: AsyncGenerator<Frame>,
): Promise<{ entries: AsyncIterable<DataEntry>; refused(): readonly RefusedEntry[] }> {
	const first = await frames.next();
	if (first.done !== true && first.value.kind === 'X') throw fromProblem(parseDocument(first.value));
	async function* all(): AsyncGenerator<Frame> {
		try {
			if (first.done !== true) yield first.value;
			yield* frames;
		} finally {
			await frames.return(undefined);
		}
	}
	let refused: readonly RefusedEntry[] = [];
	const onEnd = (document: unknown): void => {
		refused = WalkEnd.parse(document).refused;
	};
	return { entries: entriesOf(all(), onEnd), refused: () => refused };
}

async function* restoreFrames(
	instanceId: Parameters<Runtime['restoreData']>[0],
	entries: AsyncIterable<DataEntry>,
): AsyncGenerator<Buffer> {
	yield documentFrame('D', RestoreStart.encode({ instanceId }));
	yield* entryFrames(entries);
	yield documentFrame('D', {});
}

async function lastDocument(frames: AsyncGenerator<Frame>, onProgress?: (line: string) => void): Promise<unknown> {
	let last: { readonly document: unknown } | undefined;
	// Read to the very end: hanging up behind the last document would look to hostd like a caller that went away.
	for await (const frame of frames) {
		if (frame.kind === 'X') throw fromProblem(parseDocument(frame));
		if (frame.kind === 'D') last = { document: parseDocument(frame) };
		if (frame.kind === 'L') onProgress?.(String(parseDocument(frame)));
	}
	if (last !== undefined) return last.document;
	throw new MvmError('HOSTD_UNAVAILABLE', 'hostd broke off its answer');
}

/** A stream that breaks off means that hostd (or the caller's patience) ended, not that the data is bad. */
async function* broken(bytes: AsyncIterable<Uint8Array>, { signal }: CallOptions): AsyncGenerator<Uint8Array> {
	try {
		yield* bytes;
	} catch (cause) {
		signal.throwIfAborted();
		throw new MvmError('HOSTD_UNAVAILABLE', 'hostd broke off its answer', { cause });
	}
}
