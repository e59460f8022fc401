// Every metric of the daemon in one place: names, help and closed label sets. Services receive this object in their deps.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

export interface Metrics {
	readonly registry: Registry;
	readonly wakeSeconds: Histogram<'outcome'>;
	readonly sleepSeconds: Histogram<'outcome'>;
	readonly startupFailures: Counter<'code'>;
	readonly heldRequests: Gauge;
	readonly retainedMessages: Gauge<'state'>;
	readonly instances: Gauge<'state'>;
	readonly ingressAccepted: Counter<'outcome'>;
	readonly deliveries: Counter<'outcome'>;
	readonly operations: Counter<'kind' | 'outcome'>;
	readonly endpointRequests: Counter<'outcome'>;
}

/** Registers all metrics on a registry of their own. */
export function makeMetrics(): Metrics {
	const registry = new Registry();
	const registers = [registry];
	collectDefaultMetrics({ register: registry, prefix: 'mvm_process_' });
	return {
		registry,
		wakeSeconds: new Histogram({
			name: 'mvm_wake_seconds',
			help: 'Duration of wakes',
			labelNames: ['outcome'],
			buckets: SECONDS,
			registers,
		}),
		sleepSeconds: new Histogram({
			name: 'mvm_sleep_seconds',
			help: 'Duration of sleeps',
			labelNames: ['outcome'],
			buckets: SECONDS,
			registers,
		}),
		startupFailures: new Counter({
			name: 'mvm_startup_failures_total',
			help: 'Instances that did not become ready',
			labelNames: ['code'],
			registers,
		}),
		heldRequests: new Gauge({ name: 'mvm_held_requests', help: 'Requests held while their instance wakes', registers }),
		retainedMessages: new Gauge({
			name: 'mvm_retained_messages',
			help: 'Retained ingress messages',
			labelNames: ['state'],
			registers,
		}),
		instances: new Gauge({ name: 'mvm_instances', help: 'Instances by state', labelNames: ['state'], registers }),
		ingressAccepted: new Counter({
			name: 'mvm_ingress_accepted_total',
			help: 'Inbound events by what became of them at the edge',
			labelNames: ['outcome'],
			registers,
		}),
		deliveries: new Counter({ name: 'mvm_deliveries_total', help: 'Delivery attempts', labelNames: ['outcome'], registers }),
		operations: new Counter({
			name: 'mvm_operations_total',
			help: 'Finished operations',
			labelNames: ['kind', 'outcome'],
			registers,
		}),
		endpointRequests: new Counter({
			name: 'mvm_endpoint_requests_total',
			help: 'Requests of instances to endpoints',
			labelNames: ['outcome'],
			registers,
		}),
	};
}
