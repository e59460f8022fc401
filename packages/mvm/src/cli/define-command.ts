// Commands are data: what a verb takes, what it does, how it is explained, and the function that does it. program.ts turns
// them into a command line, help.ts into text; handlers see their client, values and words only.
import type { MvmClient } from '@mvm/sdk';
import type { Io } from './io.ts';

export interface ArgumentSpec {
	readonly name: string;
	readonly summary: string;
}

export interface OptionSpec {
	/** As commander reads it: `--tail-bytes <bytes>`; without `<…>` it is a switch. */
	readonly flags: string;
	readonly summary: string;
	/** Shown in help: `seconds`, `MiB`. */
	readonly unit?: string;
	readonly default?: string;
	readonly choices?: readonly string[];
}

export interface Table {
	readonly columns: readonly string[];
	readonly rows: readonly (readonly string[])[];
}

/** What a command found or did. `value` is the JSON that `--json` prints, in wire spelling. */
export interface Shown {
	readonly value: unknown;
	/** For people, on standard output. */
	readonly table?: Table;
	/** Plain text in place of a table. */
	readonly text?: string;
	/** For people, on standard error: what happened and what to do next. */
	readonly words?: string;
	/** When the answer itself is a failure, such as a broken audit chain. Default 0. */
	readonly exitCode?: number;
}

export interface CommandContext {
	/** Connects on first use. */
	readonly client: MvmClient;
	readonly args: Readonly<Record<string, string>>;
	/** By long name in camelCase; switches are booleans. */
	readonly options: Readonly<Record<string, string | boolean | undefined>>;
	readonly io: Io;
	/** Aborts on Ctrl-C. */
	readonly signal: AbortSignal;
	/** Shows one value of a stream at once, and flushes it. */
	readonly stream: (shown: Shown) => void;
}

export interface Command {
	/** One word or several: `tenant`, `tenant secrets`. Absent: a verb alone, such as `up`. */
	readonly noun?: string;
	readonly verb: string;
	readonly summary: string;
	/** One paragraph: what changes, what does not. */
	readonly effect: string;
	readonly args?: readonly ArgumentSpec[];
	readonly options?: readonly OptionSpec[];
	/** Two, each a command line and what it does. */
	readonly examples: readonly [readonly [string, string], readonly [string, string]];
	readonly related: readonly string[];
	/** Set for destruction: what is lost. Asked on a terminal, else `--yes` is needed. */
	readonly destroys?: (args: Readonly<Record<string, string>>) => string;
	readonly run: (context: CommandContext) => Promise<Shown | undefined>;
}

/** Names what a command is called on the command line. */
export function nameOf(command: Pick<Command, 'noun' | 'verb'>): string {
	return command.noun === undefined ? command.verb : `${command.noun} ${command.verb}`;
}

/** The identity; it gives the literal its type. */
export function defineCommand(command: Command): Command {
	return command;
}
