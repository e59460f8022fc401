// One operation while it runs: journaled, timed steps, undo actions, and the point after which traffic no longer aborts it.
import type { OperationId } from '@mvm/protocol';
import type { OperationStep } from '../domain/operation.ts';
import type { Logger } from '../platform/logger.ts';
import type { Clock } from '../ports/clock.ts';

export interface StepTiming {
	readonly name: string;
	readonly ms: number;
}

interface Init {
	readonly operationId: OperationId;
	readonly incarnation: number;
	readonly traceId: string;
	readonly forced: boolean;
	readonly clock: Clock;
	readonly log: Logger;
	readonly journal: (step: OperationStep) => Promise<void>;
	readonly raiseIncarnation: () => Promise<number>;
	readonly signal: AbortSignal;
	/** Told of every step as it begins, journaled or not. */
	readonly onStep: (name: OperationStep) => void;
}

export class OperationContext {
	readonly operationId: OperationId;
	readonly traceId: string;
	readonly forced: boolean;
	readonly log: Logger;
	readonly steps: StepTiming[] = [];
	#incarnation: number;
	#signal: AbortSignal;
	readonly #init: Init;
	readonly #undo: { readonly name: string; readonly run: () => Promise<void> }[] = [];

	constructor(init: Init) {
		this.#init = init;
		this.#incarnation = init.incarnation;
		this.#signal = init.signal;
		this.operationId = init.operationId;
		this.traceId = init.traceId;
		this.forced = init.forced;
		this.log = init.log;
	}

	/** The life that the next boot or thaw of this operation starts. */
	get incarnation(): number {
		return this.#incarnation;
	}

	/** Aborted by late traffic (before the point of no return), by a deadline or by shutdown. */
	get signal(): AbortSignal {
		return this.#signal;
	}

	/** Runs one step: persisted first unless `journal: false` (steps that leave no trace outside), then timed. */
	async step<T>(name: OperationStep, run: () => Promise<T>, options: { readonly journal?: boolean } = {}): Promise<T> {
		this.#signal.throwIfAborted();
		const started = this.#init.clock.monotonic();
		this.#init.onStep(name);
		if (options.journal !== false) await this.#init.journal(name);
		try {
			return await run();
		} finally {
			this.steps.push({ name, ms: Math.round((this.#init.clock.monotonic() - started) * 10) / 10 });
		}
	}

	/** Claims one more incarnation for a second boot or thaw within this operation. */
	async raiseIncarnation(): Promise<number> {
		this.#incarnation = await this.#init.raiseIncarnation();
		return this.#incarnation;
	}

	/** Registers what takes back the effect just made; run in reverse order when the operation fails. */
	onFailure(name: string, run: () => Promise<void>): void {
		this.#undo.push({ name, run });
	}

	/** Forgets the undo actions: what they would take back is gone or wanted. */
	settle(): void {
		this.#undo.length = 0;
	}

	/** Runs every undo action once, newest first, under a signal of its own; a failing one ends the undo. */
	async undo(deadlineMs: number): Promise<boolean> {
		this.#signal = AbortSignal.timeout(deadlineMs);
		for (const action of this.#undo.splice(0).reverse()) {
			try {
				await action.run();
			} catch (error) {
				this.log.error({ err: error, undo: action.name }, 'undo failed');
				return false;
			}
		}
		return true;
	}
}
