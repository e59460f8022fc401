// Each plain method of the wire bound to the runtime: parse, call, encode. One line a method, so that a missing or a wrongly
// typed one does not compile.
import type { Codec, CodecValue } from '@mvm/protocol';
import type * as z from 'zod/mini';
import type { CallOptions, Runtime } from '../../../ports/runtime.ts';
import { CALLS, type CallName } from '../hostd-rpc/methods.ts';

export type Call = (body: unknown, options: CallOptions) => Promise<unknown>;

export function makeCalls(runtime: Runtime): Readonly<Record<CallName, Call>> {
	return {
		capabilities: bind(CALLS.capabilities, (_, options) => runtime.capabilities(options)),
		prepare: bind(CALLS.prepare, (input, options) => runtime.prepare(input, options)),
		boot: bind(CALLS.boot, (input, options) => runtime.boot(input, options)),
		freeze: bind(CALLS.freeze, (input, options) => runtime.freeze(input.instanceId, options)),
		thaw: bind(CALLS.thaw, (input, options) => runtime.thaw(input, options)),
		snapshot: bind(CALLS.snapshot, (input, options) => runtime.snapshot(input.instanceId, options)),
		prefetch: bind(CALLS.prefetch, (input, options) => runtime.prefetch(input.instanceId, options)),
		restore: bind(CALLS.restore, (input, options) => runtime.restore(input, options)),
		stop: bind(CALLS.stop, (input, options) => runtime.stop(input, options)),
		destroy: bind(CALLS.destroy, async (input, options) => {
			await runtime.destroy(input.instanceId, options);
			return {};
		}),
		inspect: bind(CALLS.inspect, async (input, options) => ({
			observed: (await runtime.inspect(input.instanceId, options)) ?? null,
		})),
		adopt: bind(CALLS.adopt, async (_, options) => ({ observed: await runtime.adopt(options) })),
		write_secrets: bind(CALLS.write_secrets, async (input, options) => {
			await runtime.writeSecrets(input, options);
			return {};
		}),
		list_images: bind(CALLS.list_images, async (_, options) => ({ images: await runtime.listImages(options) })),
		gc_images: bind(CALLS.gc_images, async (input, options) => ({ removed: await runtime.gcImages(input.keep, options) })),
		logs: bind(CALLS.logs, async (input, options) => ({ text: await runtime.logs(input, options) })),
	};
}

function bind<In extends z.ZodMiniType, Out extends z.ZodMiniType>(
	method: { readonly request: Codec<In>; readonly response: Codec<Out> },
	run: (input: CodecValue<Codec<In>>, options: CallOptions) => Promise<CodecValue<Codec<Out>>>,
): Call {
	return async (body, options) => {
		const input = method.request.parse(body, { what: 'the request' }) as CodecValue<Codec<In>>;
		return method.response.encode((await run(input, options)) as Parameters<typeof method.response.encode>[0]);
	};
}
