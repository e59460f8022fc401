// Follows one pool's instance through the platform's events and `mvm instance info`, and turns what happens into timeline lines.
// Never asks the platform to do anything: whoever waits here waits for policy and messages.
import { setTimeout as delay } from 'node:timers/promises';
import type { Platform } from './platform.ts';
import { span, type Timeline } from './timeline.ts';

/** The part of the platform's instance view that the demo reads. */
export interface Instance {
	readonly id: string;
	readonly pool_id: string;
	readonly state: string;
	readonly hibernated?: boolean;
	readonly incarnation: number;
	readonly pid?: number | null;
	readonly memory?: Memory | null;
	readonly inhibitors?: readonly string[];
	readonly checkpoint_id?: string | null;
	readonly conditions?: readonly { readonly type: string; readonly status: boolean; readonly message: string }[];
}
export interface Memory {
	readonly charged_bytes: number;
	readonly swap_bytes: number;
	readonly resident_bytes: number;
}
export interface Wake {
	readonly outcome: string;
	readonly total_ms: number;
	readonly steps: readonly { readonly name: string; readonly ms: number }[];
}
interface PlatformEvent {
	readonly kind: string;
	readonly detail?: Readonly<Record<string, unknown>>;
	readonly trace_id?: string | null;
}

/** Without an event nothing is asked for longer than this. */
const LOOK_EVERY_MS = 2_000;

export class Watch {
	/** Every wake so far, the first boot included. */
	readonly wakes: Wake[] = [];
	readonly #platform: Platform;
	readonly #timeline: Timeline;
	readonly #tenant: string;
	readonly #signal: AbortSignal;
	#last: Instance | null = null;
	#changed = Promise.withResolvers<void>();

	constructor(input: { platform: Platform; timeline: Timeline; tenant: string; signal: AbortSignal }) {
		this.#platform = input.platform;
		this.#timeline = input.timeline;
		this.#tenant = input.tenant;
		this.#signal = input.signal;
		const onEvent = (value: unknown): void => {
			this.#tell(value as PlatformEvent);
			this.#changed.resolve();
			this.#changed = Promise.withResolvers();
		};
		this.#platform.follow(['events', '--tenant', this.#tenant, '--follow'], onEvent, this.#signal);
	}

	/** The tenant's only instance as it is now. */
	async look(): Promise<Instance | null> {
		const options = { signal: this.#signal };
		const id = this.#last?.id;
		if (id === undefined) {
			const list = await this.#platform.json<{ items?: Instance[] } | Instance[]>(
				['instance', 'list', '--tenant', this.#tenant],
				options,
			);
			this.#last = (Array.isArray(list) ? list : (list.items ?? []))[0] ?? null;
		} else this.#last = await this.#platform.json<Instance>(['instance', 'info', id], options);
		return this.#last;
	}

	/** Waits until the instance is as wanted; fails early when the platform ends or the instance needs attention. */
	async until(what: string, wanted: (instance: Instance) => boolean, limitMs: number): Promise<Instance> {
		const limit = AbortSignal.timeout(limitMs);
		return this.#timeline.waiting(what, async (detail) => {
			for (;;) {
				const problem = this.#platform.problem();
				if (problem !== null) throw new Error(problem);
				const changed = this.#changed.promise;
				const instance = await this.look();
				if (instance !== null && wanted(instance)) return instance;
				const attention = instance?.conditions?.find(({ type, status }) => type === 'NeedsAttention' && status);
				if (attention !== undefined) throw new Error(`the instance needs attention: ${attention.message}`);
				detail(instance === null ? '' : [instance.state, ...(instance.inhibitors ?? [])].join(', '));
				if (limit.aborted) throw new Error(`waited ${span(limitMs)} for: ${what}; it is ${describe(instance)}`);
				const pause = new AbortController();
				const signal = AbortSignal.any([pause.signal, this.#signal]);
				await Promise.race([changed, delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)]);
				pause.abort();
				this.#signal.throwIfAborted();
			}
		});
	}

	#tell(event: PlatformEvent): void {
		const wake = findWake(event.detail);
		if (wake !== null) {
			this.wakes.push(wake);
			this.#timeline.event('mvm', `${words(wake.outcome)} in ${span(wake.total_ms)}`);
			this.#timeline.more(wake.steps.map(({ name, ms }) => `${name} ${span(ms)}`).join(' · '));
		} else if (event.kind === 'ingress.taken')
			this.#timeline.event('mvm', 'delivered: the agent proved that it has stored the message');
		else if (/^instance\.(checkpointed|warm|froze|sleeping|slept|sleep_aborted|aborted|failed)/.test(event.kind))
			this.#timeline.event('mvm', event.kind.replace('instance.', '').replaceAll('_', ' '));
		else if (event.kind === 'ingress.retry' || event.kind === 'ingress.dead')
			this.#timeline.event('mvm', `${event.kind}: ${reason(event)}`);
	}
}

/** A wake's outcome wherever the event carries it. */
function findWake(detail: unknown): Wake | null {
	if (typeof detail !== 'object' || detail === null) return null;
	const { outcome, total_ms: totalMs, steps } = detail as Partial<Wake>;
	if (typeof outcome === 'string' && typeof totalMs === 'number')
		return { outcome, total_ms: totalMs, steps: Array.isArray(steps) ? steps : [] };
	return findWake((detail as { wake?: unknown }).wake);
}

function words(outcome: string): string {
	if (outcome === 'resumed' || outcome === 'restored') return `woke: ${outcome} where it was`;
	return outcome === 'cold-boot' ? 'booted' : outcome;
}

const reason = (event: PlatformEvent): string => String(event.detail?.['error'] ?? event.detail?.['reason'] ?? 'see the log');

function describe(instance: Instance | null): string {
	if (instance === null) return 'not there';
	const why = (instance.conditions ?? []).filter(({ status }) => status).map(({ type, message }) => `${type}: ${message}`);
	return [instance.state, ...(instance.inhibitors ?? []), ...why].join('; ');
}
