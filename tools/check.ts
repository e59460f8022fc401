// `npm run check`: every guard, each with proof that it looked at something. Exits 1 when one fails.
import { spawn } from 'node:child_process';

interface Step {
	readonly name: string;
	readonly argv: readonly [string, ...string[]];
	/** Reads the output of a green run and says what was looked at, or throws when it was nothing. */
	readonly looked: (output: string) => string;
}

const bin = (name: string): string => `node_modules/.bin/${name}`;
const count = (output: string, pattern: RegExp, what: string): string => {
	const found = Number(pattern.exec(output)?.[1] ?? 0);
	if (found === 0) throw new Error(`looked at no ${what}`);
	return `${found} ${what}`;
};

const steps: readonly Step[] = [
	{
		name: 'types',
		// Projects read each other's sources without referring to each other, so after a change in one the others look up to date.
		argv: [bin('tsc'), '-b', '--verbose', ...(process.argv.includes('--force') ? ['--force'] : [])],
		looked: (o) => `${(o.match(/^ +\* \S+tsconfig\.json$/gm) ?? []).length || fail('tsc saw no project')} projects`,
	},
	{
		name: 'biome',
		argv: [bin('biome'), 'check', '--error-on-warnings', '.'],
		looked: (o) => count(o, /Checked (\d+) files/, 'files'),
	},
	{
		name: 'layers',
		argv: [bin('depcruise'), '--config', '.dependency-cruiser.cjs', 'packages', 'test', 'tools', 'bench'],
		looked: (o) => count(o, /no dependency violations found \((\d+) modules/, 'modules'),
	},
	{
		name: 'dead code',
		argv: [bin('knip'), '--no-progress', '--no-config-hints', '--debug'],
		looked: (o) => `${(o.match(/\.ts\b/g) ?? []).length > 0 ? 'all workspaces' : fail('knip saw no file')}`,
	},
	{ name: 'rules', argv: [process.execPath, 'tools/check-rules.ts'], looked: (o) => count(o, /(\d+) files/, 'files') },
	{ name: 'docs', argv: [process.execPath, 'tools/check-docs.ts'], looked: (o) => count(o, /(\d+) documents/, 'documents') },
];

function fail(message: string): never {
	throw new Error(message);
}

async function run(step: Step): Promise<boolean> {
	const [command, ...args] = step.argv;
	const started = performance.now();
	const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	child.stdout.on('data', (chunk) => {
		output += chunk;
	});
	child.stderr.on('data', (chunk) => {
		output += chunk;
	});
	const code = await new Promise<number>((done) => child.on('close', (c) => done(c ?? 1)));
	let verdict = '';
	let ok = code === 0;
	if (ok) {
		try {
			verdict = step.looked(output);
		} catch (error) {
			ok = false;
			verdict = String(error);
		}
	}
	const seconds = ((performance.now() - started) / 1000).toFixed(1);
	process.stdout.write(`${ok ? 'ok  ' : 'FAIL'} ${step.name.padEnd(10)} ${seconds} s  ${verdict}\n`);
	if (!ok)
		process.stdout.write(
			`${
				step.name === 'dead code'
					? output
							.split('\n')
							.filter((l) => !l.startsWith('['))
							.join('\n')
					: output
			}\n`,
		);
	return ok;
}

const results = await Promise.all(steps.map(run));
process.exit(results.every(Boolean) ? 0 : 1);
