// Port 53: what a guest may ask of its host. The instance is known by its socket; the body only names whom it means.

import type { Duplex } from 'node:stream';
import {
	decodeHostBoundRequest,
	encodeFrame,
	encodeHostBoundResponse,
	FrameParser,
	type HostBoundResponse,
	type InstanceId,
	MvmError,
	parseInstanceId,
	parsePoolId,
	parseTenantId,
} from '@mvm/protocol';
import type { Lifecycle } from '../lifecycle/index.ts';
import type { Orchestrator } from './orchestrator.ts';

export interface HostBoundDeps {
	readonly lifecycle: Lifecycle;
	readonly orchestrator: Orchestrator;
	readonly isGateway: (instance: InstanceId) => Promise<boolean>;
	readonly newTraceId: () => string;
	readonly now: () => number;
	readonly record: Lifecycle['deps']['record'];
}

const READ_MS = 5_000;
const WAKE_MS = 120_000;
const PER_WINDOW = 20;
const WINDOW_MS = 10_000;

/** Answers one framed request per stream: own tenant only, waking others only from role gateway, rate limited. */
export function makeHostBoundHandler(deps: HostBoundDeps): (stream: Duplex, from: { instanceId: InstanceId }) => void {
	const windows = new Map<InstanceId, { startedAtMs: number; used: number }>();
	const limited = (id: InstanceId): boolean => {
		const window = windows.get(id);
		if (window === undefined || deps.now() - window.startedAtMs >= WINDOW_MS) {
			windows.set(id, { startedAtMs: deps.now(), used: 1 });
			return false;
		}
		window.used += 1;
		return window.used > PER_WINDOW;
	};
	return (stream, { instanceId }) => {
		answer(deps, stream, instanceId, limited(instanceId))
			.catch(
				(error: unknown): HostBoundResponse => ({
					kind: 'Error',
					message: error instanceof MvmError ? `${error.code}: ${error.message}` : 'request failed',
				}),
			)
			.then((response) => stream.end(encodeFrame(encodeHostBoundResponse(response))))
			.catch(() => stream.destroy());
	};
}

async function answer(deps: HostBoundDeps, stream: Duplex, from: InstanceId, isLimited: boolean): Promise<HostBoundResponse> {
	const wire = await readFrame(stream);
	if (isLimited) throw new MvmError('RATE_LIMITED', `at most ${PER_WINDOW} requests in ${WINDOW_MS / 1000} s`);
	const request = decodeHostBoundRequest(wire);
	if (request.kind === 'Unknown') throw new MvmError('GUEST_PROTOCOL', 'unknown request');
	const caller = await deps.lifecycle.handle(from);
	const tenantId = parseTenantId(request.tenantId);
	const poolId = parsePoolId(request.poolId);
	const instanceId = parseInstanceId(request.instanceId);
	// Another tenant's instance is answered like one that does not exist.
	const target = tenantId === caller.row.tenantId ? await deps.lifecycle.handle(instanceId) : undefined;
	if (target === undefined || target.row.tenantId !== tenantId || target.row.poolId !== poolId) {
		throw new MvmError('INSTANCE_NOT_FOUND', `no instance ${instanceId}`);
	}
	if (request.kind === 'QueryInstanceStatus') return { kind: 'InstanceStatus', status: target.row.state, guestIp: null };
	if (target.id !== from && !(await deps.isGateway(from))) {
		await deps.record({
			tenantId,
			poolId,
			instanceId: from,
			actor: from,
			action: 'wake_instance',
			target: instanceId,
			outcome: 'denied',
		});
		throw new MvmError('FORBIDDEN', 'only a gateway wakes other instances');
	}
	const signal = AbortSignal.timeout(WAKE_MS);
	await using lease = await deps.orchestrator.acquire(
		{ tenantId, poolId, instanceId, why: 'request', traceId: deps.newTraceId() },
		{ signal },
	);
	return { kind: 'WakeResult', success: true, detail: lease.wake.outcome };
}

/** One frame, within a deadline and the protocol's cap. */
async function readFrame(stream: Duplex): Promise<unknown> {
	const parser = new FrameParser();
	const late = AbortSignal.timeout(READ_MS);
	late.addEventListener('abort', () => stream.destroy(new Error('no request in time')), { once: true });
	for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
		const [frame] = parser.push(chunk as Uint8Array);
		if (frame !== undefined) return frame;
	}
	throw new MvmError('GUEST_PROTOCOL', 'the stream ended before a request');
}
