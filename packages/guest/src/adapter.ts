// The hook between the supervisor and the kind of workload it runs. One adapter per `workload.adapter`; the supervisor calls
// it, never the other way round. An adapter must not start or kill the workload itself and must honour every signal.
export type Log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, keys?: Record<string, unknown>) => void;

/** Outcome of one command that ran as the workload user. Output is cut to its last 64 KiB. */
export interface CommandResult {
	/** Exit code; null when the command was killed by a signal or never started. */
	readonly code: number | null;
	readonly signal: string | null;
	/** True when the deadline or the caller's signal ended it; its whole process group is gone then. */
	readonly timedOut: boolean;
	readonly stdout: string;
	readonly stderr: string;
	readonly ms: number;
}

/** What an adapter may use. Made once per agent process. */
export interface AdapterContext {
	/** `workload.env` of the configuration plus the supervisor's defaults (PATH, HOME, MVM_*). */
	readonly env: Readonly<Record<string, string>>;
	/** Port of the workload's readiness probe, when it has one. */
	readonly readyPort: number | undefined;
	/** `/data`, `/run/secrets` and `/run/mvm` (the last on a tmpfs, readable by the workload); other paths in tests. */
	readonly paths: { readonly data: string; readonly secrets: string; readonly run: string };
	/** Epoch milliseconds, corrected by the host's clock after a thaw. */
	readonly now: () => number;
	readonly log: Log;
	/** Runs one argument array as the workload user, its environment being `env`, the adapter's own and `options.env`. */
	readonly run: (
		command: readonly string[],
		options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly env?: Readonly<Record<string, string>> },
	) => Promise<CommandResult>;
}

export type SleepReadiness = { readonly ready: true } | { readonly ready: false; readonly reason: string };

export interface WorkloadAdapter {
	/**
	 * Called before each start of the workload; the returned variables (a token minted for this start, for example) go to the
	 * workload, and to every integration command until the next start.
	 */
	beforeStart(options: { signal: AbortSignal }): Promise<Readonly<Record<string, string>>>;
	/** Drains the workload within `budgetMs` and holds it quiet. `ready: false` means it has let go again. */
	prepareSleep(options: { budgetMs: number; signal: AbortSignal }): Promise<SleepReadiness>;
	/** Ends the quiet period: after a thaw, a restore, or a sleep that was called off. Idempotent; a lease that expired is fine. */
	resume(options: { signal: AbortSignal }): Promise<void>;
	/** Why the workload counts as busy right now (`turn:2`, `ingress-pending:1`); empty means idle. Must answer within a second. */
	busy(options: { signal: AbortSignal }): Promise<readonly string[]>;
	/** Credential of the workload's own interface, for the host's edge only; null before the first start. Must not be logged. */
	workloadToken?(): string | null;
}

/** Implemented by `openclaw/adapter.ts` as `makeOpenclawAdapter` and by `plain-adapter.ts` for `adapter = "none"`. */
export type MakeAdapter = (context: AdapterContext) => WorkloadAdapter;
