// The command line itself: commander reads it, a command runs, its result is printed, its error becomes text and an exit
// code. Called by main.ts with the real world and by tests with a recorded one.
import { isMvmError, type MvmError, MvmError as Problem, toProblem } from '@mvm/protocol';
import { MvmClient } from '@mvm/sdk';
import { Command as Commander, CommanderError, Option } from 'commander';
import { type Command, type CommandContext, nameOf, type Shown } from './define-command.ts';
import { errorText, exitCodeOf, INTERRUPTED } from './error-text.ts';
import { commandHelp, GLOBAL_OPTIONS, globalHelp, optionsOf, overview } from './help.ts';
import type { Io } from './io.ts';
import { type Format, render } from './render.ts';

export interface World {
	readonly io: Io;
	readonly env: Readonly<Record<string, string | undefined>>;
	readonly signal: AbortSignal;
	/** Path of the admin socket when nothing else is said. */
	readonly adminSocket: string;
}

type Values = Readonly<Record<string, string | boolean | undefined>>;

/** Runs one command line (without node and script) and returns the exit code. Never throws. */
export async function runProgram(commands: readonly Command[], argv: readonly string[], world: World): Promise<number> {
	let exitCode = 0;
	const run = async (command: Command, args: readonly string[], values: Values): Promise<void> => {
		exitCode = await runCommand(command, args, values, world);
	};
	const program = build(commands, world.io, run);
	try {
		if (argv.length === 0) world.io.out(overview(commands));
		else if (argv[0] === 'help' && argv[1] === 'options') world.io.out(globalHelp());
		else await program.parseAsync([...argv], { from: 'user' });
		return exitCode;
	} catch (error) {
		if (!(error instanceof CommanderError)) return fail(error, 'table', world);
		if (error.exitCode === 0) return 0;
		return fail(usageError(error), wantsJson(argv) ? 'json' : 'table', world);
	}
}

/** Commander puts its guess on a second line. */
function usageError(error: CommanderError): MvmError {
	const [message = '', guess] = error.message.replace(/^error: /, '').split('\n');
	const meant = /Did you mean (?:one of )?(.+?)\?/.exec(guess ?? '')?.[1];
	return new Problem('USAGE', message, {
		hint: meant === undefined ? 'mvm --help lists the commands' : `did you mean ${meant}?`,
	});
}

const wantsJson = (argv: readonly string[]): boolean =>
	argv.includes('--json') || /(^|\s)(-o|--output)[ =]json/.test(argv.join(' '));

type Run = (command: Command, args: readonly string[], values: Values) => Promise<void>;

function build(commands: readonly Command[], io: Io, run: Run): Commander {
	const root = configured(new Commander('mvm'), io);
	root.helpInformation = () => overview(commands);
	root.addHelpCommand('help [command…]', 'Explain a command').usage('<noun> <verb>');
	const nouns = new Map<string, Commander>();
	for (const command of commands) {
		let parent = root;
		let noun = '';
		for (const word of command.noun?.split(' ') ?? []) {
			noun = `${noun} ${word}`.trim();
			parent = nouns.get(noun) ?? configured(parent.command(word), io);
			nouns.set(noun, parent);
			const path = noun;
			parent.helpInformation = () => overview(commands.filter((one) => `${one.noun} `.startsWith(`${path} `)));
		}
		const verb = configured(parent.command(command.verb), io);
		verb.helpInformation = () => commandHelp(command);
		for (const arg of command.args ?? []) verb.argument(`<${arg.name}>`, arg.summary);
		for (const spec of [...optionsOf(command), ...GLOBAL_OPTIONS]) {
			const option = new Option(spec.flags, spec.summary);
			if (spec.default !== undefined) option.default(spec.default);
			if (spec.choices !== undefined) option.choices([...spec.choices]);
			verb.addOption(option);
		}
		verb.action(async (...given: unknown[]) => {
			const args = given.slice(0, (command.args ?? []).length) as string[];
			await run(command, args, verb.opts<Record<string, string | boolean | undefined>>());
		});
	}
	return root;
}

function configured(command: Commander, io: Io): Commander {
	return command
		.exitOverride()
		.configureOutput({ writeOut: (text) => io.out(text), writeErr: () => {} }) // errors are told once, by us
		.showSuggestionAfterError(true)
		.allowExcessArguments(false);
}

async function runCommand(command: Command, given: readonly string[], options: Values, world: World): Promise<number> {
	const format = (options['json'] === true ? 'json' : (options['output'] ?? 'table')) as Format;
	const args = Object.fromEntries((command.args ?? []).map((arg, at) => [arg.name, given[at] ?? '']));
	let client: MvmClient | undefined;
	let exitCode = 0;
	const show = (shown: Shown): void => {
		world.io.progress('');
		world.io.out(render(shown, format));
		if (shown.words !== undefined && format === 'table') world.io.say(shown.words);
		exitCode = shown.exitCode ?? exitCode;
	};
	const context: CommandContext = {
		get client() {
			client ??= connect(options, world);
			return client;
		},
		args,
		options,
		io: world.io,
		signal: world.signal,
		stream: show,
	};
	try {
		if (command.destroys !== undefined && options['yes'] !== true) await confirm(command.destroys(args), command, args, world.io);
		const shown = await command.run(context);
		if (shown !== undefined) show(shown);
		return exitCode;
	} catch (error) {
		world.io.progress('');
		return world.signal.aborted ? INTERRUPTED : fail(error, format, world);
	} finally {
		client?.close();
	}
}

/** Destruction is confirmed by typing the name, or by --yes where nobody can be asked. */
async function confirm(lost: string, command: Command, args: Readonly<Record<string, string>>, io: Io): Promise<void> {
	const name = Object.values(args)[0] ?? '';
	if (io.ask !== undefined) {
		const typed = await io.ask(`This destroys ${lost}.\nType ${name} to go on: `);
		if (typed.trim() === name) return;
		throw new Problem('CANCELLED', 'nothing was destroyed');
	}
	throw new Problem('USAGE', `this destroys ${lost}, and nobody can be asked here`, {
		hint: `mvm ${nameOf(command)} ${Object.values(args).join(' ')} --yes`,
	});
}

function connect(options: Values, world: World): MvmClient {
	const text = (name: string, variable: string): string | undefined => {
		const value = options[name] ?? world.env[variable];
		return typeof value === 'string' && value !== '' ? value : undefined;
	};
	const server = typeof options['socket'] === 'string' ? undefined : text('server', 'MVM_SERVER');
	if (server === undefined) {
		return new MvmClient({ socketPath: typeof options['socket'] === 'string' ? options['socket'] : world.adminSocket });
	}
	if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) {
		throw new Problem('USAGE', `this is no http or https address: ${server}`);
	}
	const key = text('key', 'MVM_KEY');
	if (key === undefined)
		throw new Problem('USAGE', '--server needs a key', { hint: 'set MVM_KEY; an operator makes one: mvm key create' });
	return new MvmClient({ server, key });
}

function fail(error: unknown, format: Format, { io }: World): number {
	if (format === 'json') io.out(`${JSON.stringify({ error: toProblem(asKnown(error)) })}\n`);
	io.say(errorText(error).trimEnd());
	return exitCodeOf(error);
}

const asKnown = (error: unknown): MvmError =>
	isMvmError(error) ? error : new Problem('INTERNAL', error instanceof Error ? error.message : String(error));
