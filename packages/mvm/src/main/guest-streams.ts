// What the daemon answers on the ports that guests dial: 53 (host-bound requests) and 54 (instance API and endpoints).
import { HOST_BOUND_PORT, INSTANCE_API_PORT, type InstanceId, MvmError } from '@mvm/protocol';
import { systemClock } from '../drivers/clock/system.ts';
import { makeEndpointHandler, makeInstanceApiHandler } from '../gateway/index.ts';
import type { Lifecycle } from '../lifecycle/index.ts';
import { makeHostBoundHandler, type Orchestrator } from '../orchestrator/index.ts';
import type { Logger } from '../platform/logger.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { DialHandler } from '../ports/link.ts';
import { type Database, type MasterKey, readSecret } from '../state/index.ts';
import type { InFlight } from './in-flight.ts';
import type { Pools } from './pools.ts';
import type { Recorder } from './recorder.ts';

interface Deps {
	readonly lifecycle: Lifecycle;
	readonly orchestrator: Orchestrator;
	readonly pools: Pools;
	readonly db: Database;
	readonly key: MasterKey;
	readonly recorder: Recorder;
	readonly inFlight: InFlight;
	readonly upstreamAllow: readonly string[];
	readonly log: Logger;
	readonly metrics: Metrics;
	readonly newTraceId: () => string;
}

const REPORTS_PER_MINUTE = 600;

/** The handlers by port. Fills the map that lifecycle already holds, since each side needs the other. */
export function addGuestHandlers(handlers: Map<number, DialHandler>, deps: Deps): void {
	const { lifecycle, orchestrator, pools, db, key, recorder, inFlight, log, metrics } = deps;
	const endpoints = makeEndpointHandler({
		log,
		upstreamAllow: deps.upstreamAllow,
		count: (outcome) => metrics.endpointRequests.inc({ outcome }),
		resolve: async (instance, name) => {
			const { row } = await lifecycle.handle(instance);
			const { spec } = await pools.view(row.tenantId, row.poolId);
			const endpoint = spec.endpoints.find((e) => e.name === name);
			if (endpoint === undefined) throw new MvmError('NOT_FOUND', `pool ${row.poolId} has no endpoint ${name}`);
			const { credential } = endpoint;
			const secret =
				credential === undefined
					? undefined
					: await db.asTenant(row.tenantId, (tx) => readSecret(tx, { tenantId: row.tenantId, name: credential.secret, key }));
			return { tenantId: row.tenantId, endpoint, credential: secret?.reveal(), traceparent: inFlight.traceparentOf(instance) };
		},
	});
	const api = makeInstanceApiHandler({
		isRateLimited: rateLimit(REPORTS_PER_MINUTE),
		onArtifact: async (instance, report) => {
			const { row } = await lifecycle.handle(instance);
			const { tenantId, poolId } = row;
			recorder.event('artifact.reported', { tenantId, poolId, instanceId: instance, outcome: 'ok', detail: { ...report } });
		},
	});
	handlers.set(INSTANCE_API_PORT, (stream, { instanceId, endpoint }) => {
		if (endpoint === undefined) api(stream, { instanceId });
		else endpoints(stream, { instanceId, endpoint });
	});
	const hostBound = makeHostBoundHandler({
		lifecycle,
		orchestrator,
		newTraceId: deps.newTraceId,
		now: systemClock.now,
		record: (entry) => recorder.record(entry),
		isGateway: async (instance) => {
			const { row } = await lifecycle.handle(instance);
			return (await pools.view(row.tenantId, row.poolId)).spec.role === 'gateway';
		},
	});
	handlers.set(HOST_BOUND_PORT, hostBound);
}

function rateLimit(perMinute: number): (id: InstanceId) => boolean {
	let minute = 0;
	let used = new Map<InstanceId, number>();
	return (id) => {
		const now = Math.floor(systemClock.monotonic() / 60_000);
		if (now !== minute) used = new Map();
		minute = now;
		const count = (used.get(id) ?? 0) + 1;
		used.set(id, count);
		return count > perMinute;
	};
}
