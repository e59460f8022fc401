// The methods of hostd whose bodies are streams: `/data` out, `/data` in, image builds with progress. All end early when the
// caller goes away, and each says at its end whether it is whole.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MvmError, toProblem } from '@mvm/protocol';
import type { Runtime } from '../../../ports/runtime.ts';
import { entriesOf, entryFrames } from '../hostd-rpc/entries.ts';
import { documentFrame, parseDocument, readFrames } from '../hostd-rpc/frames.ts';
import { CheckpointRequest, InstallRequest, InstallResult, RestoreResult, RestoreStart, WalkEnd } from '../hostd-rpc/methods.ts';

interface StreamCall {
	readonly runtime: Runtime;
	readonly request: IncomingMessage;
	readonly response: ServerResponse;
	readonly signal: AbortSignal;
}

type StreamMethod = (call: StreamCall) => Promise<void>;

export const STREAMS: ReadonlyMap<string, StreamMethod> = new Map<string, StreamMethod>([
	['checkpoint_data', checkpointData],
	['restore_data', restoreData],
	['install_image', installImage],
]);

async function checkpointData({ runtime, request, response, signal }: StreamCall): Promise<void> {
	const { instanceId } = CheckpointRequest.parse(await firstDocument(request), { what: 'the request' });
	const walk = await runtime.checkpointData(instanceId, { signal });
	await send(response, async function* () {
		yield* entryFrames(walk.entries);
		yield documentFrame('D', WalkEnd.encode({ refused: [...walk.refused()] }));
	});
}

async function restoreData({ runtime, request, response, signal }: StreamCall): Promise<void> {
	const frames = readFrames(bytesOf(request));
	let result: Awaited<ReturnType<Runtime['restoreData']>>;
	try {
		const first = await frames.next();
		if (first.done === true) throw new MvmError('FRAME_MALFORMED', 'the stream is empty');
		const { instanceId } = RestoreStart.parse(parseDocument(first.value), { what: 'the request' });
		const entries = entriesOf(frames, () => {});
		result = await runtime.restoreData(instanceId, entries, { signal });
	} finally {
		// Lets go of the request, so that whoever answers can read it to its end.
		await frames.return(undefined);
	}
	await send(response, async function* () {
		yield documentFrame('D', RestoreResult.encode(result));
	});
}

async function installImage({ runtime, request, response, signal }: StreamCall): Promise<void> {
	const { recipe } = InstallRequest.parse(await firstDocument(request), { what: 'the request' });
	await send(response, async function* () {
		const lines: string[] = [];
		let wake = Promise.withResolvers<void>();
		let done = false;
		const onProgress = (line: string): void => {
			lines.push(line.slice(0, 4096));
			wake.resolve();
		};
		const work = runtime.installImage(recipe, { signal, onProgress }).finally(() => {
			done = true;
			wake.resolve();
		});
		// Awaited below; until then a rejection has an owner.
		work.catch(() => {});
		while (!done || lines.length > 0) {
			const line = lines.shift();
			if (line !== undefined) yield documentFrame('L', line);
			else {
				await wake.promise;
				wake = Promise.withResolvers<void>();
			}
		}
		yield documentFrame('D', InstallResult.encode(await work));
	});
}

/** Sends frames with back-pressure; an error becomes the last frame. Ends the generator when the caller goes away. */
async function send(response: ServerResponse, make: () => AsyncGenerator<Buffer>): Promise<void> {
	response.writeHead(200, { 'content-type': 'application/octet-stream' });
	async function* guarded(): AsyncGenerator<Buffer> {
		try {
			yield* make();
		} catch (error) {
			yield documentFrame('X', toProblem(error));
		}
	}
	await pipeline(Readable.from(guarded(), { objectMode: false, highWaterMark: 1024 * 1024 }), response);
}

/** Reads the request to its end: one that is left in the middle takes the connection, and the answer, with it. */
async function firstDocument(request: IncomingMessage): Promise<unknown> {
	let first: { readonly document: unknown } | undefined;
	for await (const frame of readFrames(bytesOf(request))) first ??= { document: parseDocument(frame) };
	if (first === undefined) throw new MvmError('FRAME_MALFORMED', 'the stream is empty');
	return first.document;
}

/** Leaving this loop early, or by an error, does not destroy the request under the answer. */
function bytesOf(request: IncomingMessage): AsyncIterable<Buffer> {
	return request.iterator({ destroyOnReturn: false });
}
