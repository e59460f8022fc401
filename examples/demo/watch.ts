// Follows one tenant's only instance through the SDK and turns what happens into timeline lines. Never asks the platform to do
// anything: whoever waits here waits for policy and messages.
import { setTimeout as delay } from 'node:timers/promises';
import {
	type EventView,
	type IngressMessageView,
	type InstanceView,
	isErrorCode,
	isMvmError,
	type TenantId,
	WAKE_OUTCOMES,
} from '@mvm/protocol';
import type { MvmClient } from '@mvm/sdk';
import type { Platform } from './platform.ts';
import { span, type Timeline } from './timeline.ts';

interface Step {
	readonly name: string;
	readonly ms: number;
}
interface Wake {
	readonly outcome: string;
	readonly totalMs: number;
}

/** Without an event nothing is asked for longer than this. */
const LOOK_EVERY_MS = 1_000;

export class Watch {
	/** Every wake so far, the first boot included. */
	readonly wakes: Wake[] = [];
	readonly #deps: {
		readonly platform: Platform;
		readonly timeline: Timeline;
		readonly tenant: TenantId;
		readonly signal: AbortSignal;
	};
	readonly #client: MvmClient;
	#changed = Promise.withResolvers<void>();
	#problem: Error | null = null;

	constructor(deps: { platform: Platform; timeline: Timeline; tenant: TenantId; signal: AbortSignal }) {
		this.#deps = deps;
		this.#client = deps.platform.client();
		void this.#follow();
	}

	/** The tenant's only instance as it is now; null before there is one. */
	async look(): Promise<InstanceView | null> {
		const { tenant, signal } = this.#deps;
		const { items } = await this.#client.routes.instance.list({ query: { tenantId: tenant } }, { signal });
		return items[0] ?? null;
	}

	/** What the platform kept of the message with the sender's own id. */
	async message(eventId: string): Promise<IngressMessageView | null> {
		const { tenant, signal } = this.#deps;
		const { items } = await this.#client.routes.ingress.list({ params: { tenant } }, { signal });
		return items.find((item) => item.eventId === eventId) ?? null;
	}

	/** Waits until the instance is as wanted; fails early when the platform ends or the instance needs attention. */
	async until(what: string, wanted: (instance: InstanceView) => boolean, limitMs: number): Promise<InstanceView> {
		const { platform, timeline, signal } = this.#deps;
		const limit = AbortSignal.timeout(limitMs);
		return timeline.waiting(what, async (detail) => {
			for (;;) {
				const problem = platform.problem();
				if (problem !== null) throw new Error(problem);
				if (this.#problem !== null) throw this.#problem;
				const changed = this.#changed.promise;
				const instance = await this.look();
				if (instance !== null && wanted(instance)) return instance;
				const attention = instance?.conditions.find(({ type, status }) => type === 'NeedsAttention' && status);
				if (attention !== undefined) throw new Error(`the instance needs attention: ${attention.message}`);
				detail(instance === null ? '' : [instance.state, ...instance.inhibitors].join(', '));
				if (limit.aborted) throw new Error(`waited ${span(limitMs)} for: ${what}; the instance is ${describe(instance)}`);
				const pause = new AbortController();
				const either = AbortSignal.any([pause.signal, signal]);
				await Promise.race([changed, delay(LOOK_EVERY_MS, undefined, { signal: either }).catch(() => undefined)]);
				pause.abort();
				signal.throwIfAborted();
			}
		});
	}

	async #follow(): Promise<void> {
		const { tenant, signal } = this.#deps;
		try {
			for await (const event of this.#client.follow({ tenantId: tenant, after: '0' }, { signal })) {
				this.#tell(event);
				this.#changed.resolve();
				this.#changed = Promise.withResolvers();
			}
		} catch (error) {
			// Before the deploy there is no tenant; that is not the demo's end.
			if (!isMvmError(error) && !signal.aborted) this.#problem = error as Error;
		} finally {
			this.#client.close();
		}
	}

	#tell(event: EventView): void {
		const { timeline } = this.#deps;
		const steps = stepsOf(event.detail);
		const outcome = String(event.detail['outcome'] ?? 'ok');
		const failed = isErrorCode(outcome);
		const why = String(
			event.detail['reason'] ?? event.detail['message'] ?? event.detail['error'] ?? event.detail['outcome'] ?? '',
		);
		if (event.kind === 'instance.wake' || event.kind === 'instance.start') {
			const wake = { outcome: outcomeOf(event, steps), totalMs: steps.reduce((sum, { ms }) => sum + ms, 0) };
			if (wake.outcome === 'failed') timeline.event('mvm', `could not wake it: ${why}`);
			else {
				this.wakes.push(wake);
				timeline.event('mvm', `${WORDS[wake.outcome] ?? wake.outcome} in ${span(wake.totalMs)}`);
			}
		} else if (event.kind === 'instance.sleep' || event.kind === 'instance.warm') {
			const verb = event.kind === 'instance.sleep' ? 'checkpointed and put to sleep' : 'frozen';
			timeline.event('mvm', failed ? `stays awake: ${outcome}` : `${verb} (${outcome}): ${why}`);
		} else if (event.kind === 'ingress.taken')
			timeline.event('mvm', 'handed over: the agent proved that it has stored the message');
		else if (event.kind === 'ingress.retry' || event.kind === 'ingress.parked')
			timeline.event('mvm', `not taken yet, kept and tried again: ${why}`);
		else if (/^(ingress|checkpoint|drain)\./.test(event.kind)) timeline.event('mvm', `${event.kind}: ${why}`);
		else return;
		if (steps.length > 0) timeline.more(steps.map(({ name, ms }) => `${name} ${span(ms)}`).join(' · '));
	}
}

const WORDS: Readonly<Record<string, string>> = {
	resumed: 'woke it where it was',
	restored: 'woke it from its snapshot',
	'cold-boot': 'booted it',
	'already-running': 'it was awake',
};

function stepsOf(detail: EventView['detail']): Step[] {
	const { steps } = detail as { steps?: unknown };
	return Array.isArray(steps) ? (steps as Step[]).filter((step) => typeof step?.ms === 'number') : [];
}

/** What the wake came to; told by its steps where the event does not say. */
function outcomeOf(event: EventView, steps: readonly Step[]): string {
	for (const key of ['result', 'outcome']) for (const outcome of WAKE_OUTCOMES) if (event.detail[key] === outcome) return outcome;
	if (isErrorCode(String(event.detail['outcome']))) return 'failed';
	return steps.some(({ name }) => /thaw/.test(name)) ? 'resumed' : 'cold-boot';
}

function describe(instance: InstanceView | null): string {
	if (instance === null) return 'not there';
	const why = instance.conditions.filter(({ status }) => status).map(({ type, message }) => `${type}: ${message}`);
	return [instance.state, ...instance.inhibitors, ...why].join('; ');
}
