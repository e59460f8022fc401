// `mvm pool …`: groups of instances with one image, size and policy.
import { PoolSpec, type PoolView, ROLES, ROUTES } from '@mvm/protocol';
import { type Command, defineCommand, type Shown } from '../define-command.ts';
import { poolName, tenantName, textOption, wholeNumber } from '../names.ts';
import { fields, text } from '../render.ts';

const POOL = { name: 'pool', summary: 'Name of the pool: <tenant>/<pool>' };
const wire = (pool: PoolView): unknown => ROUTES['pool.get'].response.encode(pool);
const paramsOf = (name: string): { tenant: string; pool: string } => {
	const { tenantId, poolId } = poolName(name);
	return { tenant: tenantId, pool: poolId };
};
const counts = (pool: PoolView): string =>
	Object.entries(pool.instances)
		.map(([state, count]) => `${count} ${state}`)
		.join(', ') || 'none';
const wanted = ({ spec: { desired } }: PoolView): string =>
	`${desired.running} running, ${desired.warm} warm, ${desired.sleeping} sleeping`;

function show(pool: PoolView): Shown {
	const { spec } = pool;
	const table = fields([
		['pool', `${pool.tenantId}/${pool.id}`],
		['role', spec.role],
		['driver', spec.driver],
		['image', pool.image ?? spec.image],
		[
			'size',
			`${spec.vcpus} CPUs, ${spec.memMib} MiB memory, ${spec.dataDiskMib === 0 ? 'no limit on' : `${spec.dataDiskMib} MiB`} data`,
		],
		['wanted', wanted(pool)],
		['instances', counts(pool)],
		['channels', spec.ingress.map((one) => one.channel).join(', ')],
		['integrations', spec.integrations.map((one) => one.name).join(', ')],
		['changed', pool.updatedAt],
	]);
	return { value: wire(pool), table };
}

const create = defineCommand({
	noun: 'pool',
	verb: 'create',
	summary: 'Make a pool',
	effect:
		'Makes a pool of the given size over an image that is built already. Its instances are made when they are wanted: by mvm pool scale, by a message, or by a request. Integrations, endpoints and channels are declared in a deploy file.',
	args: [POOL],
	options: [
		{ flags: '--image <name>', summary: 'Name or hash of an image; see mvm image list' },
		{ flags: '--cpus <n>', summary: 'CPUs of an instance', default: '2' },
		{ flags: '--mem <n>', summary: 'Memory of an instance', unit: 'MiB', default: '1024' },
		{ flags: '--data-disk <n>', summary: 'Limit of /data; 0 for none', unit: 'MiB', default: '0' },
		{ flags: '--role <role>', summary: 'What its instances are for', default: 'worker', choices: ROLES },
	],
	examples: [
		['mvm pool create acme/workers --image counter', 'A pool of the default size.'],
		['mvm pool create acme/workers --image openclaw --cpus 1 --mem 2048', 'Room for an OpenClaw gateway.'],
	],
	related: ['pool scale', 'image build', 'deploy'],
	run: async ({ client, args, options, signal }) => {
		const { tenant, pool } = paramsOf(args['pool'] ?? '');
		const number = (name: string, flag: string): number => wholeNumber(textOption(options, name) ?? '', flag);
		const spec = PoolSpec.parse(
			{
				id: pool,
				role: textOption(options, 'role'),
				image: textOption(options, 'image') ?? null,
				vcpus: number('cpus', '--cpus'),
				mem_mib: number('mem', '--mem'),
				data_disk_mib: number('dataDisk', '--data-disk'),
			},
			{ what: 'the pool' },
		);
		const made = await client.routes.pool.create({ params: { tenant }, body: spec }, { signal });
		return { ...show(made), words: `Pool ${tenant}/${pool} is there. Next: mvm pool scale ${tenant}/${pool} --sleeping 1` };
	},
});

const list = defineCommand({
	noun: 'pool',
	verb: 'list',
	summary: "List a tenant's pools",
	effect: 'Lists pools with what is wanted and what is there. Changes nothing.',
	args: [{ name: 'tenant', summary: 'Name of the tenant' }],
	examples: [
		['mvm pool list acme', 'All pools of acme.'],
		['mvm pool list acme --json', 'With all their settings.'],
	],
	related: ['pool info', 'instance list'],
	run: async ({ client, args, signal }) => {
		const answer = await client.routes.pool.list({ params: { tenant: tenantName(args['tenant'] ?? '') } }, { signal });
		const rows = answer.items.map((pool) => [pool.id, pool.spec.role, text(pool.spec.image), wanted(pool), counts(pool)]);
		return { value: answer.items.map(wire), table: { columns: ['pool', 'role', 'image', 'wanted', 'instances'], rows } };
	},
});

const info = defineCommand({
	noun: 'pool',
	verb: 'info',
	summary: 'Show a pool',
	effect: 'Shows one pool: size, policy, channels, wanted and present instances. Changes nothing.',
	args: [POOL],
	examples: [
		['mvm pool info acme/workers', 'The main facts.'],
		['mvm pool info acme/workers -o yaml', 'All settings, defaults filled in.'],
	],
	related: ['pool scale', 'instance list'],
	run: async ({ client, args, signal }) =>
		show(await client.routes.pool.get({ params: paramsOf(args['pool'] ?? '') }, { signal })),
});

const scale = defineCommand({
	noun: 'pool',
	verb: 'scale',
	summary: 'Set how many instances a pool keeps',
	effect:
		'Sets the floors: how many instances are kept awake, how many frozen beyond them, how many more may exist asleep. A count that is not given stays. Demand raises the awake count above its floor until idle; running turns are never cut off.',
	args: [POOL],
	options: [
		{ flags: '--running <n>', summary: 'Kept awake' },
		{ flags: '--warm <n>', summary: 'Kept frozen beyond those' },
		{ flags: '--sleeping <n>', summary: 'Existing asleep beyond those' },
	],
	examples: [
		['mvm pool scale acme/workers --sleeping 1', 'One instance, asleep until a message comes.'],
		['mvm pool scale acme/workers --running 0 --warm 0 --sleeping 0', 'None is kept.'],
	],
	related: ['pool info', 'instance list'],
	run: async ({ client, args, options, signal }) => {
		const params = paramsOf(args['pool'] ?? '');
		const { spec } = await client.routes.pool.get({ params }, { signal });
		const count = (name: 'running' | 'warm' | 'sleeping'): number => {
			const given = textOption(options, name);
			return given === undefined ? spec.desired[name] : wholeNumber(given, `--${name}`);
		};
		const body = { running: count('running'), warm: count('warm'), sleeping: count('sleeping') };
		const pool = await client.routes.pool.scale({ params, body }, { signal });
		return { ...show(pool), words: `Wanted now: ${wanted(pool)}. See it happen: mvm events --follow` };
	},
});

const destroy = defineCommand({
	noun: 'pool',
	verb: 'destroy',
	summary: 'Destroy a pool and its instances',
	effect: 'Stops and erases all instances of the pool with their data, then the pool. This cannot be undone.',
	args: [POOL],
	examples: [
		['mvm pool destroy acme/workers', 'Asks for the name, then destroys.'],
		['mvm pool destroy acme/workers --yes', 'For scripts.'],
	],
	related: ['pool scale', 'tenant destroy'],
	destroys: (args) => `pool ${args['pool']} with all its instances and their data`,
	run: async ({ client, args, signal }) => {
		await client.routes.pool.destroy({ params: paramsOf(args['pool'] ?? '') }, { signal });
		return { value: { destroyed: args['pool'] }, words: `Pool ${args['pool']} is gone.` };
	},
});

export const poolCommands: readonly Command[] = [create, list, info, scale, destroy];
