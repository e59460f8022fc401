// `mvm up`, `mvm down`, `mvm doctor`: the platform itself. These load the composition roots only when they run, so every
// other command starts without them.
import { DoctorReport, isMvmError } from '@mvm/protocol';
import { type Command, type CommandContext, defineCommand, type Shown } from '../define-command.ts';
import { textOption } from '../names.ts';

const FOLDERS = [
	{ flags: '--data-dir <path>', summary: 'Where everything is kept; default: MVM_DATA_DIR, /var/lib/mvm as root' },
	{ flags: '--run-dir <path>', summary: 'Sockets and other things of the moment; default: MVM_RUN_DIR, /run/mvm as root' },
];
const CONFIG = { flags: '--config <path>', summary: "The operator's mvm.toml; default: in the data directory" };

function given<Name extends string>(
	options: CommandContext['options'],
	...names: readonly Name[]
): { readonly [N in Name]?: string } {
	const found: Partial<Record<Name, string>> = {};
	for (const name of names) {
		const value = textOption(options, name);
		if (value !== undefined) found[name] = value;
	}
	return found;
}

const up = defineCommand({
	verb: 'up',
	summary: 'Start the platform on this machine and keep it up',
	effect:
		'Starts the host daemon, the database and the platform, restarts what dies, and stays in the foreground until Ctrl-C or mvm down; then instances are put to rest. What was there before is taken over, sleeping and running instances included.',
	options: [
		...FOLDERS,
		CONFIG,
		{ flags: '--listen <host:port>', summary: 'Public address; default: MVM_LISTEN, 127.0.0.1:7070' },
	],
	examples: [
		['mvm up', 'As root: everything; as another user: what that user may.'],
		['mvm up --data-dir ./data --run-dir /tmp/mvm-run', 'In folders of your own.'],
	],
	related: ['down', 'doctor', 'deploy'],
	run: async ({ options, io }) => {
		const { up: start } = await import('../../main/up.ts');
		await start({ ...given(options, 'dataDir', 'runDir', 'config', 'listen'), say: (line) => io.say(line) });
		return undefined;
	},
});

const down = defineCommand({
	verb: 'down',
	summary: 'Stop the platform on this machine',
	effect:
		'Asks the running platform to put its instances to rest and end, and waits until it has. Nothing is lost: messages and data stay for the next mvm up.',
	options: FOLDERS,
	examples: [
		['mvm down', 'Stops the platform of the default folders.'],
		['mvm down --run-dir /tmp/mvm-run', 'Stops the one of these folders.'],
	],
	related: ['up'],
	run: async ({ options, io }) => {
		const { down: stop } = await import('../../main/up.ts');
		const wasUp = await stop({ ...given(options, 'dataDir', 'runDir'), say: (line) => io.say(line) });
		return { value: { was_up: wasUp }, words: wasUp ? 'The platform is down.' : 'No platform was up.' };
	},
});

const doctor = defineCommand({
	verb: 'doctor',
	summary: 'Check what the host can do and what it lacks',
	effect:
		'Checks this host and, when it is up, the platform: rights, cgroups, swap, sandbox, disk, database. Says what is weaker and how to mend it. Exits 1 when something keeps the platform from working. Changes nothing.',
	options: [...FOLDERS, CONFIG],
	examples: [
		['mvm doctor', 'One line per check.'],
		['mvm doctor --json', 'For another program.'],
	],
	related: ['up'],
	run: async ({ client, options, signal }) => {
		try {
			return show(await client.routes.host.doctor(undefined, { signal }));
		} catch (error) {
			if (!isMvmError(error, 'UPSTREAM_FAILED')) throw error;
			const { doctor: check } = await import('../../main/up.ts');
			return show(await check(given(options, 'dataDir', 'runDir', 'config')));
		}
	},
});

function show(report: DoctorReport): Shown {
	const rows = report.checks.map((check) => [check.level, check.name, check.message, check.fix ?? '']);
	return {
		value: DoctorReport.encode(report),
		table: { columns: ['level', 'check', 'finding', 'fix'], rows },
		exitCode: report.ok ? 0 : 1,
		words: report.ok
			? 'Nothing keeps the platform from working.'
			: 'Something keeps the platform from working: see the lines that say fail.',
	};
}

export const platformCommands: readonly Command[] = [up, down, doctor];
