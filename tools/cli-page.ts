// Writes docs/cli.md from the data of the command line: `node tools/cli-page.ts`. check-docs.ts refuses a page that is not what this
// gives, so help and page cannot differ.
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { COMMANDS } from '../packages/mvm/src/cli/all-commands.ts';
import { nameOf } from '../packages/mvm/src/cli/define-command.ts';
import { commandHelp, GLOBAL_OPTIONS, globalHelp, optionsOf } from '../packages/mvm/src/cli/help.ts';

export const CLI_PAGE = 'docs/cli.md';

/** The page's text. */
export function cliPage(): string {
	const blocks = [
		'# The command line',
		'Written by `tools/cli-page.ts` from the commands themselves; do not edit. In a checkout, `npm run mvm --` stands for `mvm`.',
		`\`\`\`\n${globalHelp().trimEnd()}\n\`\`\``,
	];
	let noun: string | undefined = 'none';
	for (const command of COMMANDS) {
		if (command.noun !== noun) blocks.push(`## ${command.noun ?? 'Platform'}`);
		noun = command.noun;
		const help = commandHelp(command).replace('Options of every command: mvm help options\n\n', '').trimEnd();
		blocks.push(`### mvm ${nameOf(command)}`, `\`\`\`\n${help}\n\`\`\``);
	}
	return `${blocks.join('\n\n')}\n`;
}

/** Command name → its long options, those of every command included. */
export function commandOptions(): Map<string, ReadonlySet<string>> {
	const long = (flags: string): string => /--[a-z-]+/.exec(flags)?.[0] ?? '';
	return new Map(
		COMMANDS.map((command) => [
			nameOf(command),
			new Set([...optionsOf(command), ...GLOBAL_OPTIONS, { flags: '--help' }].map(({ flags }) => long(flags))),
		]),
	);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) writeFileSync(CLI_PAGE, cliPage());
