// Writes audit records and events for everything that happened outside a transaction. The audit buffer holds callers back while
// the store is down; events follow in order and are never waited for, because the journal and the audit hold the truth.
import type { InstanceId, PoolId, TenantId } from '@mvm/protocol';
import type { Logger } from '../platform/logger.ts';
import type { Clock } from '../ports/clock.ts';
import { AuditBuffer, appendEvent, type Database } from '../state/index.ts';

interface EventInput {
	readonly tenantId: TenantId;
	readonly poolId?: PoolId;
	readonly instanceId?: InstanceId;
	readonly outcome: string;
	readonly detail?: Readonly<Record<string, unknown>>;
	readonly traceId?: string;
}

export interface RecordInput extends EventInput {
	readonly actor: string;
	readonly action: string;
	readonly target: string;
}

const MAX_WAIT_MS = 30_000;

export class Recorder {
	readonly #db: Database;
	readonly #clock: Clock;
	readonly #log: Logger;
	readonly #audit: AuditBuffer;
	#events: Promise<void> = Promise.resolve();

	constructor(deps: { readonly db: Database; readonly clock: Clock; readonly log: Logger }) {
		this.#db = deps.db;
		this.#clock = deps.clock;
		this.#log = deps.log;
		this.#audit = new AuditBuffer(deps);
	}

	/** Resolves once the audit record has its place in the buffer; an event of the same name follows. */
	async record(input: RecordInput): Promise<void> {
		const { tenantId, actor, action, target, outcome, detail, traceId } = input;
		await this.#audit.add(
			{ tenantId, at: new Date(this.#clock.now()), actor, action: dotted(action), target, outcome, detail, traceId },
			{ signal: AbortSignal.timeout(MAX_WAIT_MS) },
		);
		this.event(dotted(action), input);
	}

	/** An event of its own, without an audit record: artifacts, deliveries. */
	event(kind: string, input: EventInput): void {
		const { tenantId, poolId, instanceId, detail, outcome, traceId } = input;
		this.#events = this.#events
			.then(() =>
				this.#db.asTenant(tenantId, (tx) =>
					appendEvent(tx, { tenantId, poolId, instanceId, kind, detail: { outcome, ...detail }, traceId }),
				),
			)
			.then(() => undefined)
			.catch((error: unknown) => this.#log.warn({ err: error, tenant_id: tenantId, kind }, 'event not written'));
	}

	async close(): Promise<void> {
		await this.#audit.close({ signal: AbortSignal.timeout(MAX_WAIT_MS) });
		await this.#events;
	}
}

/** `instance_wake` is `instance.wake` in audit and events. */
function dotted(action: string): string {
	return action.replace('_', '.');
}
