import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import {
	decodeGuestRequest,
	decodeGuestResponse,
	decodeHostBoundRequest,
	decodeHostBoundResponse,
	encodeFrame,
	encodeGuestRequest,
	encodeGuestResponse,
	FrameParser,
	type GuestRequest,
	type GuestResponse,
	LinkHello,
	LinkHelloAnswer,
	parseStreamPath,
	streamPath,
} from '../index.ts';

const protocolError = expect.objectContaining({ code: 'GUEST_PROTOCOL' });
const decoders = { decodeGuestRequest, decodeGuestResponse, decodeHostBoundRequest, decodeHostBoundResponse };

describe('link messages', () => {
	it('are a union on kind, with fields in camelCase', () => {
		expectTypeOf<Extract<GuestRequest, { kind: 'SleepPrep' }>['drainTimeoutSecs']>().toEqualTypeOf<number>();
		expect(decodeGuestRequest({ SleepPrep: { drain_timeout_secs: 30 } })).toEqual({ kind: 'SleepPrep', drainTimeoutSecs: 30 });
		expect(encodeGuestRequest({ kind: 'Ping' })).toBe('Ping');
	});

	it('of a newer peer are told by their tag', () => {
		for (const decode of Object.values(decoders)) {
			expect(decode('QueryHostTime')).toEqual({ kind: 'Unknown', tag: 'QueryHostTime' });
			expect(decode({ Exec: { command: 'rm' } })).toEqual({ kind: 'Unknown', tag: 'Exec' });
		}
	});

	it('drop fields this version does not know', () => {
		expect(decodeGuestRequest({ SleepPrep: { drain_timeout_secs: 1, reason: 'quiet' } })).toEqual({
			kind: 'SleepPrep',
			drainTimeoutSecs: 1,
		});
	});

	it('take a bare message also in its long form', () => {
		expect(decodeGuestRequest({ Ping: null })).toEqual({ kind: 'Ping' });
	});

	it.each([null, 1, [], {}, { A: 1, B: 2 }, [['Ping']]])('are not %j', (wire) => {
		for (const decode of Object.values(decoders)) expect(() => decode(wire)).toThrow(protocolError);
	});

	it.each([
		'SleepPrep',
		{ SleepPrep: {} },
		{ SleepPrep: { drain_timeout_secs: '30' } },
		{ Forward: { port: 0 } },
		{ Forward: { port: 65_536 } },
		{ CheckpointIntegrations: { integrations: 'all' } },
		{ PostRestore: { incarnation: -1, token: 't', now_ms: 0 } },
	])('of a known kind need their fields: %j', (wire) => {
		expect(() => decodeGuestRequest(wire)).toThrow(protocolError);
	});

	it('keep a kind from reaching inherited names', () => {
		for (const tag of ['__proto__', 'constructor', 'toString'])
			expect(decodeGuestRequest(JSON.parse(`{"${tag}":{}}`))).toEqual({ kind: 'Unknown', tag });
	});

	it('never let arbitrary JSON through as something else than a message, Unknown or GUEST_PROTOCOL', () => {
		fc.assert(
			fc.property(fc.jsonValue(), (wire) => {
				for (const decode of Object.values(decoders)) {
					try {
						expect(typeof decode(wire).kind).toBe('string');
					} catch (error) {
						expect(error).toEqual(protocolError);
					}
				}
			}),
		);
	});

	it('count a worker state they do not know as busy, and a workload state as starting', () => {
		expect(decodeGuestResponse({ WorkerStatus: { status: 'dreaming' } })).toEqual({
			kind: 'WorkerStatus',
			status: 'busy',
			lastBusyAt: null,
		});
		const status = { SupervisorStatus: { workload: { state: 'levitating' }, incarnation: 3 } };
		expect(decodeGuestResponse(status)).toMatchObject({ workload: { state: 'starting', restarts: 0 }, busyReasons: [] });
	});

	it('survive the whole way: encoded, framed, cut, parsed, decoded', () => {
		const text = fc.string();
		const maybe = fc.option(text);
		const report = fc.record({
			name: text,
			status: fc.oneof(fc.constantFrom('active' as const, 'paused' as const, 'pending' as const), fc.record({ error: text })),
			lastCheckpointAt: maybe,
			stateSizeBytes: fc.nat(),
			health: fc.option(fc.record({ healthy: fc.boolean(), detail: text, checkedAt: text })),
		});
		const response: fc.Arbitrary<GuestResponse> = fc.oneof(
			fc.record({ kind: fc.constant('SleepPrepAck' as const), success: fc.boolean(), detail: maybe }),
			fc.record({ kind: fc.constant('IntegrationStatusReport' as const), integrations: fc.array(report) }),
			fc.record({ kind: fc.constant('CheckpointResult' as const), success: fc.boolean(), failed: fc.array(text), detail: maybe }),
			fc.record({ kind: fc.constant('Error' as const), message: text }),
			fc.constant({ kind: 'ForwardReady' as const }),
		);
		fc.assert(
			fc.property(fc.array(response, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 50 }), (messages, size) => {
				const bytes = messages.flatMap((message) => [...encodeFrame(encodeGuestResponse(message))]);
				const parser = new FrameParser();
				const values: unknown[] = [];
				for (let at = 0; at < bytes.length; at += size) values.push(...parser.push(Uint8Array.from(bytes.slice(at, at + size))));
				expect(values.map(decodeGuestResponse)).toEqual(messages);
			}),
		);
	});

	it('refuse to be encoded when they do not fit', () => {
		expect(() => encodeGuestRequest({ kind: 'Forward', port: 70_000 })).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
		expect(() => encodeGuestResponse({ kind: 'Nonsense' } as never)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
	});
});

describe('the hello of a stream', () => {
	it('says which life it belongs to', () => {
		const wire = { incarnation: 4, token: 'abc', stream: 'to_guest', agent_version: '1.0.0' } as const;
		const hello = LinkHello.parse(wire);
		expect(hello).toEqual({ incarnation: 4, token: 'abc', stream: 'to_guest', agentVersion: '1.0.0' });
		expect(LinkHello.encode(hello)).toEqual(wire);
		expect(LinkHello.safeParse({ ...wire, stream: 'sideways' }).ok).toBe(false);
	});
	it('is answered with yes, or with no and why', () => {
		expect(LinkHelloAnswer.encode({ accepted: true })).toEqual({ accepted: true });
		expect(LinkHelloAnswer.parse({ accepted: false, reason: 'stale' })).toEqual({ accepted: false, reason: 'stale' });
	});
});

describe('stream paths', () => {
	it('carry a port and nothing else', () => {
		expect(parseStreamPath(streamPath(52))).toBe(52);
		for (const path of ['/port/0', '/port/65536', '/port/52/', '/port/-1', '/port/1e3', '/ports/52', '/port/052'])
			expect(parseStreamPath(path)).toBeUndefined();
	});
});
