#!/usr/bin/env node
// mvm-openclaw: the bridge between the guest agent and an OpenClaw gateway, run as the workload user by integration commands and by
// OpenClaw itself (as exec SecretRef provider). Reads only its environment, the gateway's port and the instance's own files.
import { parseArgs } from 'node:util';
import { readSettings } from './settings.ts';

const USAGE = `usage: mvm-openclaw <command>

  checkpoint [--budget-secs N]   wait for turns, suspend the gateway, record versions (exit 75: busy, nothing held)
  suspend    [--budget-secs N]   the same without the record
  resume                         open the gateway again; nothing held is fine
  restore                        refuse state of a newer OpenClaw (exit 78), then resume
  health [channel]               exit 0 when start-up is over and admission is open; with a channel, when that runs
  pending                        exit 75 while stored inbound events wait in the gateway's database
  secrets <integration>          exec SecretRef provider: one JSON question on stdin, the answer on stdout
  install                        copy this program and the token in MVM_OPENCLAW_TOKEN to MVM_OPENCLAW_DIR
`;
/** Below the 30 s default timeout of an integration command's caller, unless the pool's drain budget says otherwise. */
const DEFAULT_BUDGET_SECS = 25;

async function main(argv: readonly string[]): Promise<number> {
	const { values, positionals } = parseArgs({
		args: [...argv],
		allowPositionals: true,
		options: { 'budget-secs': { type: 'string' }, help: { type: 'boolean' } },
	});
	const [command, subject] = positionals;
	if (values.help === true) {
		process.stdout.write(USAGE);
		return 0;
	}
	const settings = readSettings(process.env);
	const budgetSecs = Number(values['budget-secs'] ?? process.env['MVM_DRAIN_TIMEOUT_SECS'] ?? DEFAULT_BUDGET_SECS);
	if (!Number.isFinite(budgetSecs) || budgetSecs < 0) return usage('--budget-secs must be a number of seconds');
	if (command === 'secrets') {
		if (subject === undefined) return usage('secrets needs the name of an integration');
		const { resolveSecrets } = await import('./secrets.ts');
		const answer = await resolveSecrets({ integration: subject, question: await readStdin(), settings });
		process.stdout.write(`${JSON.stringify(answer)}\n`);
		return 0;
	}
	if (command === 'install') {
		const token = process.env['MVM_OPENCLAW_TOKEN'] ?? '';
		if (token.length < 32) return usage('install needs a token of at least 32 characters in MVM_OPENCLAW_TOKEN');
		const { install } = await import('./install.ts');
		await install({ ownDir: settings.ownDir, program: process.argv[1] ?? '', token, node: process.execPath });
		return 0;
	}
	const commands = await import('./commands.ts');
	const stop = new AbortController();
	for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(new Error(`ended by ${name}`)));
	const options = { settings, budgetMs: budgetSecs * 1000, signal: stop.signal };
	const run = { checkpoint: commands.checkpoint, suspend: commands.suspend, resume: commands.resume, restore: commands.restore };
	const look = {
		health: subject === undefined ? commands.health : (limits: typeof options) => commands.channelHealth(limits, subject),
		pending: commands.pending,
	};
	const known = new Map(Object.entries({ ...run, ...look }));
	const chosen = known.get(command ?? '');
	if (chosen === undefined) return usage(command === undefined ? 'no command' : `unknown command ${JSON.stringify(command)}`);
	const outcome = await chosen(options);
	process.stdout.write(`${JSON.stringify(outcome.report)}\n`);
	if (outcome.problem !== undefined) process.stderr.write(`${outcome.problem}\n`);
	return outcome.exitCode;
}

function usage(problem: string): number {
	process.stderr.write(`mvm-openclaw: ${problem}\n${USAGE}`);
	return 2;
}

async function readStdin(): Promise<string> {
	let text = '';
	for await (const chunk of process.stdin.setEncoding('utf8')) {
		text += String(chunk);
		if (text.length > 65_536) throw new Error('the question is too long');
	}
	return text;
}

main(process.argv.slice(2)).then(
	(code) => {
		process.exitCode = code;
	},
	(error: unknown) => {
		process.stderr.write(`mvm-openclaw: ${error instanceof Error ? error.message : String(error)}\n`);
		process.exitCode = 1;
	},
);
