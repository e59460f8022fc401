// Rows as the control API shows them: times as RFC 3339, nothing that is secret. Pure; used by the handlers.
import type {
	ApiKeyView,
	AuditEntryView,
	CheckpointId,
	EventView,
	ImageRevision,
	ImageView,
	IngressMessageDetail,
	IngressMessageView,
	InstanceStats,
	InstanceView,
	OperationView,
	PoolView,
	SupervisorStatus,
	TenantView,
} from '@mvm/protocol';
import { usageOf } from '../domain/quota.ts';
import type { Observed } from '../ports/runtime.ts';
import type {
	ApiKeyRow,
	EventRow,
	HashedRecord,
	IngressMessage,
	IngressMessageDetail as MessageRow,
	OperationRow,
	PoolRow,
	TenantRow,
} from '../state/index.ts';
import type { InstanceFacts, InstanceObservation } from './control-deps.ts';

const time = (at: Date): string => at.toISOString();
const maybeTime = (at: Date | null): string | null => at?.toISOString() ?? null;

export function toTenantView(input: {
	readonly tenant: TenantRow;
	readonly pools: readonly PoolRow[];
	readonly instances: readonly InstanceFacts[];
	readonly retainedBytes: number;
}): TenantView {
	const { tenant, pools, instances } = input;
	const specs = new Map(pools.map((pool) => [pool.id, pool.spec]));
	const usage = usageOf(
		instances.map((one) => ({
			pool: one.poolId,
			state: one.state,
			isComingUp: false,
			vcpus: specs.get(one.poolId)?.vcpus ?? 0,
			memMib: specs.get(one.poolId)?.memMib ?? 0,
			dataDiskMib: specs.get(one.poolId)?.dataDiskMib ?? 0,
		})),
		pools.length,
	);
	return {
		id: tenant.id,
		quotas: tenant.quotas,
		usage: {
			vcpus: usage.vcpus,
			memMib: usage.memMib,
			running: usage.running,
			warm: usage.warm,
			pools: usage.pools,
			instances: instances.length,
			retainedBytes: input.retainedBytes,
		},
		suspendedAt: maybeTime(tenant.suspendedAt),
		suspendReason: tenant.suspendReason,
		secretsEpoch: tenant.secretsEpoch,
		configVersion: tenant.configVersion,
		conditions: [],
		createdAt: time(tenant.createdAt),
	};
}

export function toPoolView(pool: PoolRow, instances: readonly InstanceFacts[]): PoolView {
	const counts: Record<string, number> = {};
	for (const one of instances) if (one.poolId === pool.id) counts[one.state] = (counts[one.state] ?? 0) + 1;
	return {
		tenantId: pool.tenantId,
		id: pool.id,
		spec: pool.spec,
		image: pool.image,
		configVersion: pool.configVersion,
		instances: counts,
		conditions: [],
		createdAt: time(pool.createdAt),
		updatedAt: time(pool.updatedAt),
	};
}

export function toOperationView(row: OperationRow): OperationView {
	const error = row.error as { readonly code?: unknown; readonly message?: unknown } | null;
	return {
		id: row.id,
		tenantId: row.tenantId,
		instanceId: row.instanceId,
		kind: row.kind,
		step: row.step,
		incarnation: row.incarnation,
		reason: row.reason,
		forced: row.forced,
		detail: row.detail,
		traceId: row.traceId,
		startedAt: time(row.startedAt),
		updatedAt: time(row.updatedAt),
		finishedAt: maybeTime(row.finishedAt),
		outcome: row.outcome,
		error: error === null ? null : { code: String(error.code ?? 'INTERNAL'), message: String(error.message ?? '') },
	};
}

export function toInstanceView(
	row: InstanceFacts,
	seen: { readonly observation?: InstanceObservation | undefined; readonly operation?: OperationRow | undefined } = {},
): InstanceView {
	const runtime = seen.observation?.runtime;
	return {
		id: row.id,
		tenantId: row.tenantId,
		poolId: row.poolId,
		state: row.state,
		hibernated: row.hibernated,
		incarnation: row.incarnation,
		image: row.image,
		pinned: row.pinned,
		inhibitors: [...new Set(seen.observation?.inhibitors)],
		conditions: row.conditions,
		operation: seen.operation === undefined ? null : toOperationView(seen.operation),
		pid: runtime?.pid ?? null,
		memory: memoryOf(runtime),
		failures: row.failures,
		backoffUntil: maybeTime(row.backoffUntil),
		checkpointId: row.checkpointId as CheckpointId | null,
		enteredRunningAt: maybeTime(row.enteredRunningAt),
		enteredWarmAt: maybeTime(row.enteredWarmAt),
		lastBusyAt: maybeTime(row.lastBusyAt),
		createdAt: time(row.createdAt),
		updatedAt: time(row.updatedAt),
	};
}

export function toInstanceStats(
	row: InstanceFacts,
	runtime: Observed | undefined,
	supervisor: SupervisorStatus | null,
): InstanceStats {
	return {
		instanceId: row.id,
		state: row.state,
		pid: runtime?.pid ?? null,
		memory: memoryOf(runtime),
		cpuMs: runtime?.cpuMs ?? null,
		tasks: runtime?.tasks ?? null,
		dataBytes: runtime?.dataBytes ?? null,
		oomKills: runtime?.oomKills ?? null,
		supervisor,
	};
}

function memoryOf(runtime: Observed | undefined): InstanceView['memory'] {
	if (runtime?.memory === undefined) return null;
	const { chargedBytes, swapBytes, residentBytes } = runtime.memory;
	return { chargedBytes, swapBytes, residentBytes };
}

export function toMessageView(row: IngressMessage): IngressMessageView {
	return {
		id: row.id,
		tenantId: row.tenantId,
		poolId: row.poolId,
		channel: row.channel,
		eventId: row.eventId,
		orderKey: row.orderKey,
		instanceId: row.instanceId,
		state: row.state,
		path: row.path,
		bodyBytes: row.bodyBytes,
		receivedAt: time(row.receivedAt),
		attempts: row.attempts,
		nextAttemptAt: row.state === 'pending' ? time(row.nextAttemptAt) : null,
		takenAt: maybeTime(row.takenAt),
		takenIncarnation: row.takenIncarnation,
		checkpointId: row.checkpointId as CheckpointId | null,
		lastError: row.lastError,
		traceId: row.traceId,
	};
}

export function toMessageDetail(row: MessageRow): IngressMessageDetail {
	const bodyBase64 = row.body === null ? null : Buffer.from(row.body).toString('base64');
	return { ...toMessageView(row), headers: row.headers, bodyBase64 };
}

export function toEventView(row: EventRow): EventView {
	return { ...row, at: time(row.at) };
}

export function toKeyView({ hash: _hash, ...row }: ApiKeyRow): ApiKeyView {
	return { ...row, createdAt: time(row.createdAt), revokedAt: maybeTime(row.revokedAt) };
}

export function toAuditView(record: HashedRecord): AuditEntryView {
	const { seq, at, actor, action, target, outcome, hash } = record;
	const detail = record.detail as AuditEntryView['detail'];
	return { seq, at, actor, action, target, outcome, detail, traceId: record.trace_id, prevHash: record.prev_hash, hash };
}

export function toImageView(image: ImageRevision, pools: readonly PoolRow[]): ImageView {
	const usedBy = pools.filter((pool) => pool.image === image.hash).map((pool) => `${pool.tenantId}/${pool.id}`);
	return { ...image, usedBy };
}
