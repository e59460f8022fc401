// The text of --help, from the command's data. Pure; held by golden tests.
import { type Command, nameOf, type OptionSpec } from './define-command.ts';

export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
	{ flags: '-o, --output <format>', summary: 'How to print', default: 'table', choices: ['table', 'json', 'yaml'] },
	{ flags: '--json', summary: 'Print exactly one JSON value and nothing else on standard output' },
	{ flags: '--socket <path>', summary: "Admin socket; default: the platform's own under MVM_RUN_DIR" },
	{ flags: '--server <url>', summary: 'Control API elsewhere, with --key; default: MVM_SERVER' },
	{ flags: '--key <key>', summary: 'API key for --server; better: MVM_KEY, which no process list shows' },
];
const YES: OptionSpec = { flags: '--yes', summary: 'Destroy without asking' };

/** The options of a command, its own first. */
export function optionsOf(command: Command): readonly OptionSpec[] {
	return [...(command.options ?? []), ...(command.destroys === undefined ? [] : [YES])];
}

export function commandHelp(command: Command): string {
	const args = command.args ?? [];
	const options = optionsOf(command);
	const usage = ['mvm', nameOf(command), ...args.map((arg) => arg.name.toUpperCase()), '[options]'].join(' ');
	const blocks = [`Usage: ${usage}`, wrap(command.effect)];
	if (args.length > 0) blocks.push(`Arguments:\n${rows(args.map((arg) => [arg.name.toUpperCase(), arg.summary]))}`);
	if (options.length > 0) blocks.push(`Options:\n${rows(options.map(optionRow))}`);
	blocks.push('Options of every command: mvm help options');
	blocks.push(`Examples:\n${command.examples.map(([line, what]) => `  ${line}\n      ${what}`).join('\n')}`);
	if (command.related.length > 0) blocks.push(`Related: ${command.related.map((name) => `mvm ${name}`).join(', ')}`);
	return `${blocks.join('\n\n')}\n`;
}

export function overview(commands: readonly Command[]): string {
	const nouns = new Map<string, Command[]>();
	for (const command of commands) {
		const noun = command.noun ?? '';
		nouns.set(noun, [...(nouns.get(noun) ?? []), command]);
	}
	const blocks = [
		'Usage: mvm <noun> <verb> [names…] [options]',
		wrap('mvm hosts AI agents that sleep when idle and wake when a message, a request or a task needs them.'),
	];
	for (const [noun, verbs] of nouns) {
		const title = noun === '' ? 'Platform' : noun;
		blocks.push(`${title}:\n${rows(verbs.map((verb) => [nameOf(verb), verb.summary]))}`);
	}
	blocks.push('mvm <noun> <verb> --help explains one command; mvm help options lists the options of every command.');
	return `${blocks.join('\n\n')}\n`;
}

export function globalHelp(): string {
	const exits = ['0 ok, 1 failed, 2 usage, 3 not found, 4 conflict or state, 5 denied or quota, 6 timed out, 130 interrupted'];
	return `Options of every command:\n${rows(GLOBAL_OPTIONS.map(optionRow))}\n\nExit codes:\n  ${exits.join('\n  ')}\n`;
}

function optionRow(option: OptionSpec): readonly [string, string] {
	const facts = [
		...(option.choices === undefined ? [] : [option.choices.join(', ')]),
		...(option.unit === undefined ? [] : [option.unit]),
		...(option.default === undefined ? [] : [`default ${option.default}`]),
	];
	return [option.flags, facts.length === 0 ? option.summary : `${option.summary} (${facts.join('; ')})`];
}

function rows(pairs: readonly (readonly [string, string])[]): string {
	const width = Math.max(...pairs.map(([name]) => name.length));
	return pairs.map(([name, summary]) => `  ${name.padEnd(width)}  ${summary}`).join('\n');
}

const WIDTH = 96;

function wrap(text: string): string {
	const lines: string[] = [''];
	for (const word of text.split(/\s+/)) {
		const last = lines.length - 1;
		const line = lines[last] ?? '';
		if (line === '') lines[last] = word;
		else if (line.length + 1 + word.length <= WIDTH) lines[last] = `${line} ${word}`;
		else lines.push(word);
	}
	return lines.join('\n');
}
