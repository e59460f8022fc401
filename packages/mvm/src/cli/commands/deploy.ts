// `mvm deploy` and `mvm image …`: from files to pools and images.

import { setTimeout as sleep } from 'node:timers/promises';
import { type DeployResult, type ImageView, MvmError, ROUTES } from '@mvm/protocol';
import { type Command, type CommandContext, defineCommand, type Shown } from '../define-command.ts';
import { readDeployFolder, readRecipe } from '../deploy-folder.ts';
import { poolName, seconds, textOption, wholeNumber } from '../names.ts';
import { bytes, fields } from '../render.ts';

const LOOK_MS = 200;

function show(result: DeployResult, words: string): Shown {
	const rows = result.changes.map((change) => [change.action, change.kind, change.id, change.detail]);
	return {
		value: ROUTES['deploy.apply'].response.encode(result),
		table: { columns: ['action', 'kind', 'name', 'detail'], rows },
		words,
	};
}

const deploy = defineCommand({
	verb: 'deploy',
	summary: 'Make a tenant as a deploy file says',
	effect:
		'Reads the file, the recipes and the secret files beside it, and judges all of it; then builds images that are not there yet and makes tenant, secrets and pools as the file says, in one step. Repeating it changes nothing. Pools the file does not name are left alone.',
	args: [{ name: 'file', summary: 'The deploy file (TOML)' }],
	options: [
		{ flags: '--dry-run', summary: 'Print what would change, and change nothing' },
		{ flags: '--wait', summary: 'Wait until the wanted instances are there' },
		{ flags: '--timeout <duration>', summary: 'For --wait', unit: 's, m or h', default: '5m' },
	],
	examples: [
		['mvm deploy examples/counter/deploy.toml', 'Makes it so.'],
		['mvm deploy deploy.toml --dry-run', 'Prints the plan.'],
	],
	related: ['pool info', 'image list', 'events'],
	run: async (context) => {
		const { client, args, options, io, signal } = context;
		const folder = await readDeployFolder(args['file'] ?? '');
		for (const warning of folder.warnings) io.say(`warning: ${warning}`);
		const body = { document: folder.document, recipes: folder.recipes, secrets: folder.secrets };
		if (options['dryRun'] === true) {
			return show(await client.routes.deploy.plan({ body }, { signal }), 'Nothing was changed.');
		}
		const result = await client.routes.deploy.apply({ body }, { signal, onProgress: (line) => io.progress(line) });
		if (options['wait'] === true) await waitForInstances(context, folder.pools);
		const changed = result.changes.filter((change) => change.action !== 'unchanged').length;
		const next = folder.pools[0] === undefined ? '' : ` Next: mvm instance list --tenant ${folder.tenantId}`;
		return show(
			result,
			changed === 0 ? 'Everything was as the file says.' : `Tenant ${folder.tenantId} is as the file says.${next}`,
		);
	},
});

/** Bounded by --timeout. Counts at or above the wanted ones are enough: demand may have woken more. */
async function waitForInstances({ client, io, options, signal }: CommandContext, pools: readonly string[]): Promise<void> {
	const timeoutMs = seconds(textOption(options, 'timeout') ?? '') * 1000;
	const deadline = AbortSignal.timeout(timeoutMs);
	for (const name of pools) {
		const { tenantId: tenant, poolId: pool } = poolName(name);
		for (;;) {
			const { spec, instances } = await client.routes.pool.get({ params: { tenant, pool } }, { signal });
			const { desired } = spec;
			const count = (...states: string[]): number => states.reduce((sum, state) => sum + (instances[state] ?? 0), 0);
			const isThere =
				count('running') >= desired.running &&
				count('running', 'warm') >= desired.running + desired.warm &&
				count('running', 'warm', 'sleeping') >= desired.running + desired.warm + desired.sleeping;
			if (isThere) break;
			io.progress(
				`waiting for ${name}: ${
					Object.entries(instances)
						.map(([state, n]) => `${n} ${state}`)
						.join(', ') || 'no instance yet'
				}`,
			);
			if (deadline.aborted) {
				throw new MvmError('TIMEOUT', `pool ${name} is not as wanted after ${timeoutMs / 1000} s`, {
					details: { wanted: desired, there: instances },
					hint: 'mvm events and mvm instance list show what happens',
				});
			}
			await sleep(LOOK_MS, undefined, { signal });
		}
	}
}

const wire = (image: ImageView): unknown => ROUTES['image.build'].response.encode(image);

const build = defineCommand({
	noun: 'image',
	verb: 'build',
	summary: 'Build an image, or find it built',
	effect:
		'Builds the recipe in a sandbox and keeps it under the hash of everything that went into it. What the first build resolved stays locked on the host: the same recipe gives the same hash again, and a revision that is there is used at once.',
	args: [{ name: 'file', summary: 'The recipe (*.image.toml)' }],
	examples: [
		['mvm image build openclaw.image.toml', 'Prints the hash.'],
		['mvm image build openclaw.image.toml --json', 'With lock and workload.'],
	],
	related: ['image list', 'pool create', 'deploy'],
	run: async ({ client, args, io, signal }) => {
		const recipe = await readRecipe(args['file'] ?? '');
		const image = await client.routes.image.build({ body: { recipe } }, { signal, onProgress: (line) => io.progress(line) });
		const table = fields([
			['name', image.name],
			['hash', image.hash],
			['kind', image.kind],
			['size', bytes(image.bytes)],
			['built', image.reused ? 'it was there' : 'now'],
		]);
		return { value: wire(image), table, words: `Use it: mvm pool create TENANT/POOL --image ${image.name}` };
	},
});

const list = defineCommand({
	noun: 'image',
	verb: 'list',
	summary: 'List image revisions',
	effect: 'Lists revisions by name, newest first, with the pools that use each. Changes nothing.',
	examples: [
		['mvm image list', 'All revisions.'],
		['mvm image list --json', 'With locks and workloads.'],
	],
	related: ['image build', 'image gc'],
	run: async ({ client, signal }) => {
		const { items } = await client.routes.image.list(undefined, { signal });
		const rows = items.map((one) => [
			one.name,
			one.hash.slice(0, 12),
			one.kind,
			bytes(one.bytes),
			one.createdAt,
			one.usedBy.join(', ') || '-',
		]);
		return { value: items.map(wire), table: { columns: ['name', 'hash', 'kind', 'size', 'built', 'used by'], rows } };
	},
});

const gc = defineCommand({
	noun: 'image',
	verb: 'gc',
	summary: 'Remove revisions nobody uses',
	effect:
		'Removes revisions that no pool and no instance uses, but for the newest of each name and those asked for within the last minute, which a deploy may be about to use. A removed one can be built again from its lock.',
	options: [{ flags: '--keep <n>', summary: 'Newest revisions of each name to keep', default: '2' }],
	examples: [
		['mvm image gc', 'Keeps two of each name.'],
		['mvm image gc --keep 0', 'Keeps only what is in use.'],
	],
	related: ['image list'],
	run: async ({ client, options, signal }) => {
		const keep = wholeNumber(textOption(options, 'keep') ?? '', '--keep');
		const answer = await client.routes.image.gc({ body: { keep } }, { signal });
		const rows = answer.removed.map((hash) => [hash.slice(0, 12)]);
		return { value: answer, table: { columns: ['removed'], rows }, words: `${answer.removed.length} removed.` };
	},
});

export const deployCommands: readonly Command[] = [deploy];
export const imageCommands: readonly Command[] = [build, list, gc];
