// `make demo`: starts a platform of its own, deploys an example, plays its story and says in one line how it went. Exit 0 when every
// assertion held, else 1 with the reason and where the logs are. Owns nothing but its folders; see platform.ts.
import { parseArgs } from 'node:util';
import { demoFolders, Platform } from './platform.ts';
import { counterStory } from './scenario-counter.ts';
import { openclawStory } from './scenario-openclaw.ts';
import type { Story } from './stage.ts';
import { Timeline } from './timeline.ts';

const USAGE = `usage: node examples/demo/main.ts [--agent openclaw|counter] [--keep] [--dir PATH]

Shows a sleeping agent that answers messages, on this machine, with stand-ins for Telegram and the model.
  --agent NAME   openclaw (default): the real one from npm; counter: a tiny agent, in seconds
  --dir PATH     keep everything below this short, absolute path instead of the usual folders
  --keep         leave the platform up at the end and say how to look at it
`;
const STORIES: Readonly<Record<string, () => Promise<Story>>> = { openclaw: openclawStory, counter: counterStory };
const LIMIT_MS = 15 * 60_000;

const { values } = parseArgs({
	options: {
		agent: { type: 'string', default: 'openclaw' },
		keep: { type: 'boolean', default: false },
		dir: { type: 'string' },
		help: { type: 'boolean' },
	},
});
const open = STORIES[values.agent];
if (values.help === true) process.stdout.write(USAGE);
else if (open === undefined) {
	process.stderr.write(`there is no agent ${JSON.stringify(values.agent)}\n${USAGE}`);
	process.exitCode = 2;
} else process.exitCode = await demo(open);

async function demo(openStory: () => Promise<Story>): Promise<number> {
	const timeline = new Timeline(process.stdout);
	const interrupt = new AbortController();
	for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupt.abort(new Error('interrupted')));
	// Ends whoever still follows events when the story is told; they would keep the process alive.
	const over = new AbortController();
	const signal = AbortSignal.any([interrupt.signal, over.signal, AbortSignal.timeout(LIMIT_MS)]);
	const folders = demoFolders(values.dir);
	let platform: Platform | null = null;
	let story: Story | null = null;
	let kept = false;
	try {
		story = await openStory();
		const { upstreams } = story;
		platform = await timeline.waiting('starting the platform', () => Platform.start({ folders, upstreams, signal }));
		timeline.event('mvm', `up, edge on ${platform.edge}`);
		await destroyTenant(platform, story.tenant); // a demo that was cut off left its own behind
		const summary = await story.tell({ platform, timeline, signal });
		kept = values.keep;
		process.stdout.write(`\ndemo ok (${timeline.seconds().toFixed(0)} s): ${summary}\n`);
		return 0;
	} catch (error) {
		const why = error instanceof Error ? error.message : String(error);
		process.stdout.write(
			`\ndemo failed (${timeline.seconds().toFixed(0)} s): ${why}\nlogs: ${folders.log}, ${folders.data}/logs\n`,
		);
		return interrupt.signal.aborted ? 130 : 1;
	} finally {
		if (platform !== null && kept) await keep(platform, interrupt.signal);
		if (platform !== null && story !== null) {
			const [running, { tenant }] = [platform, story];
			await timeline.waiting('cleaning up', async () => {
				await destroyTenant(running, tenant);
				await running.stop();
			});
		}
		over.abort(new Error('the demo is over'));
		await story?.close();
	}
}

/** Not being there is fine. */
async function destroyTenant(platform: Platform, tenant: string): Promise<void> {
	await platform.run(['tenant', 'destroy', tenant, '--yes'], { signal: AbortSignal.timeout(60_000) }).catch(() => undefined);
}

/** The stand-ins live in this process, so keeping the platform means staying. */
async function keep(platform: Platform, signal: AbortSignal): Promise<void> {
	const { data, run } = platform.folders;
	process.stdout.write(`the platform stays up until you press Ctrl-C; look at it with\n`);
	process.stdout.write(`  MVM_DATA_DIR=${data} MVM_RUN_DIR=${run} npm run mvm -- instance list\n`);
	await new Promise<void>((done) => {
		if (signal.aborted) done();
		else signal.addEventListener('abort', () => done(), { once: true });
	});
}
