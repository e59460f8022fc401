// `npm run bench`: measures on a platform of its own and prints absolute values, ratios and what was aimed at. Asserts nothing; a part
// that cannot be measured here says so and the rest goes on. See docs/benchmarks.md.
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startModel } from '../examples/stand-ins/model.ts';
import { TestPlatform } from '../test/support/platform.ts';
import { benchTelegram, deployCounter, deployOpenClaw } from './agents.ts';
import type { Bench } from './bench.ts';
import { measureIdle } from './idle.ts';
import { measureIngress } from './ingress.ts';
import { measureLink } from './link.ts';
import { type Figure, line, machine } from './report.ts';
import { measureWakes } from './wake.ts';

const USAGE = `usage: npm run bench -- [--only link,wake,ingress,idle] [--openclaw] [--quick] [--json FILE]

  --only PARTS   comma-separated; default all
  --openclaw     also the wakes of a real OpenClaw (its image is built first, from the npm registry)
  --quick        a quarter of the rounds
  --json FILE    write machine facts and all figures there as well
`;
const PARTS = ['link', 'wake', 'ingress', 'idle'] as const;

const { values } = parseArgs({
	options: {
		only: { type: 'string', default: PARTS.join(',') },
		openclaw: { type: 'boolean', default: false },
		quick: { type: 'boolean', default: false },
		json: { type: 'string' },
		help: { type: 'boolean' },
	},
});
const wanted = values.only.split(',');
const unknown = wanted.filter((part) => !PARTS.some((known) => known === part));
if (values.help === true) process.stdout.write(USAGE);
else if (unknown.length > 0) {
	process.stderr.write(`there is no part ${unknown.join(', ')}\n${USAGE}`);
	process.exitCode = 2;
} else process.exitCode = await main();

async function main(): Promise<number> {
	const facts = machine();
	const figures: Figure[] = [];
	const failures: string[] = [];
	let section = '';
	const say = (text: string): void => void process.stderr.write(`… ${text}\n`);
	const found = (figure: Figure): void => {
		figures.push(figure);
		if (figure.section !== section) process.stdout.write(`\n${figure.section}\n`);
		section = figure.section;
		process.stdout.write(`${line(figure)}\n`);
	};
	process.stdout.write(
		`${Object.entries(facts)
			.map(([key, value]) => `${key} ${value}`)
			.join(', ')}\n`,
	);
	const part = async (name: string, run: () => Promise<void>): Promise<void> => {
		if (!wanted.includes(name)) return;
		await run().catch((error: unknown) => {
			failures.push(name);
			process.stderr.write(
				`${name} could not be measured: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
			);
		});
	};
	const haste = values.quick ? 4 : 1;
	await part('link', () => measureLink({ haste, say, found }));
	if (wanted.some((name) => name !== 'link')) {
		let edge = '';
		const telegrams = await Promise.all([benchTelegram(() => edge), benchTelegram(() => edge)]);
		const [counterTelegram, openclawTelegram] = telegrams;
		const modelKey = `sk-bench-${randomBytes(12).toString('hex')}`;
		const model = await startModel({ port: 0, key: modelKey });
		try {
			say('starting a platform');
			const swap = `swap = { size_mib = ${values.openclaw ? 3072 : 512} }`;
			const upstreams = [...telegrams, model].map(({ url }) => url);
			await using platform = await TestPlatform.start({ upstreams, config: swap });
			({ edge } = platform);
			const { key } = await platform.client.call('key.create', { body: { role: 'operator', name: 'bench' } });
			const secret = `s-${randomBytes(12).toString('hex')}`;
			const bench: Bench = { platform, secret, key, edgePort: Number(new URL(edge).port), haste, say, found };
			await part('wake', async () => measureWakes(bench, await deployCounter(bench, counterTelegram)));
			if (values.openclaw)
				await part('wake', async () => measureWakes(bench, await deployOpenClaw(bench, openclawTelegram, model, modelKey)));
			await part('ingress', () => measureIngress(bench));
			await part('idle', () => measureIdle(bench));
		} finally {
			await Promise.all([...telegrams, model].map((standIn) => standIn.close()));
		}
	}
	if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine: facts, figures }, null, '\t')}\n`);
	return failures.length === 0 ? 0 : 1;
}
