// `mvm tenant …`: customers, their quotas and secrets.
import { readFile } from 'node:fs/promises';
import { text as readStream } from 'node:stream/consumers';
import { MvmError, ROUTES, type TenantView } from '@mvm/protocol';
import { type Command, type CommandContext, defineCommand } from '../define-command.ts';
import { tenantName, textOption, wholeNumber } from '../names.ts';
import { bytes, fields, text } from '../render.ts';

const TENANT = { name: 'tenant', summary: 'Name of the tenant: 1 to 63 of a-z, 0-9 and -' };
const wire = (tenant: TenantView): unknown => ROUTES['tenant.get'].response.encode(tenant);

const QUOTAS = [
	['maxVcpus', '--max-vcpus <n>', 'CPUs of all awake instances together', '16'],
	['maxMemMib', '--max-mem <n>', 'Memory of all awake and warm instances together', '32768'],
	['maxRunning', '--max-running <n>', 'Instances awake at a time', '8'],
	['maxWarm', '--max-warm <n>', 'Instances frozen at a time', '4'],
	['maxPools', '--max-pools <n>', 'Pools', '4'],
	['maxInstancesPerPool', '--max-instances-per-pool <n>', 'Instances of one pool', '16'],
	['maxDiskGib', '--max-disk <n>', 'Data of all instances together', '100'],
] as const;
const UNITS: Readonly<Record<string, string>> = { maxMemMib: 'MiB', maxDiskGib: 'GiB' };

/** `--max-mem` as commander names it. */
const optionName = (flags: string): string =>
	(/--([a-z-]+)/.exec(flags)?.[1] ?? '').replaceAll(/-(.)/g, (_, next: string) => next.toUpperCase());

function show(tenant: TenantView) {
	const { quotas, usage } = tenant;
	const table = fields([
		['tenant', tenant.id],
		['suspended', tenant.suspendedAt === null ? 'no' : `since ${tenant.suspendedAt}: ${tenant.suspendReason}`],
		['awake', `${usage.running} of ${quotas.maxRunning}`],
		['warm', `${usage.warm} of ${quotas.maxWarm}`],
		['vcpus', `${usage.vcpus} of ${quotas.maxVcpus}`],
		['memory', `${usage.memMib} of ${quotas.maxMemMib} MiB`],
		['pools', `${usage.pools} of ${quotas.maxPools}`],
		['instances', usage.instances],
		['retained messages', bytes(usage.retainedBytes)],
		['created', tenant.createdAt],
	]);
	return { value: wire(tenant), table };
}

const create = defineCommand({
	noun: 'tenant',
	verb: 'create',
	summary: 'Make a tenant',
	effect:
		'Makes a tenant with its quotas and an empty set of pools and secrets. Fails when a tenant of this name exists. mvm deploy makes a tenant with everything in it from one file.',
	args: [TENANT],
	options: QUOTAS.map(([name, flags, summary, value]) => ({
		flags,
		summary,
		default: value,
		...(UNITS[name] === undefined ? {} : { unit: UNITS[name] }),
	})),
	examples: [
		['mvm tenant create acme', 'A tenant with the default quotas.'],
		['mvm tenant create acme --max-running 2 --max-mem 4096', 'At most two instances awake, within 4 GiB.'],
	],
	related: ['tenant info', 'pool create', 'deploy'],
	run: async ({ client, args, options, signal }) => {
		const quotas = Object.fromEntries(
			QUOTAS.map(([name, flags]) => [
				name,
				wholeNumber(textOption(options, optionName(flags)) ?? '', flags.split(' ', 1)[0] ?? ''),
			]),
		);
		const tenant = await client.routes.tenant.create({ body: { id: tenantName(args['tenant'] ?? ''), quotas } }, { signal });
		return {
			...show(tenant),
			words: `Tenant ${tenant.id} is there. Next: mvm tenant secrets set ${tenant.id} NAME, mvm pool create ${tenant.id}/NAME`,
		};
	},
});

const list = defineCommand({
	noun: 'tenant',
	verb: 'list',
	summary: 'List tenants',
	effect: 'Lists all tenants with what they use. Changes nothing.',
	examples: [
		['mvm tenant list', 'All tenants as a table.'],
		['mvm tenant list --json', 'The same as one JSON value.'],
	],
	related: ['tenant info'],
	run: async ({ client, signal }) => {
		const answer = await client.routes.tenant.list(undefined, { signal });
		const rows = answer.items.map((one) => [
			one.id,
			`${one.usage.running}/${one.quotas.maxRunning}`,
			text(one.usage.instances),
			text(one.usage.pools),
			bytes(one.usage.retainedBytes),
			one.suspendedAt === null ? 'no' : 'yes',
		]);
		const table = { columns: ['tenant', 'awake', 'instances', 'pools', 'retained', 'suspended'], rows };
		return { value: answer.items.map(wire), table };
	},
});

const info = defineCommand({
	noun: 'tenant',
	verb: 'info',
	summary: 'Show a tenant with quotas and usage',
	effect: 'Shows one tenant: quotas, what counts against them now, and whether it is suspended. Changes nothing.',
	args: [TENANT],
	examples: [
		['mvm tenant info acme', 'Quotas and usage.'],
		['mvm tenant info acme -o yaml', 'Everything the platform knows about it.'],
	],
	related: ['tenant list', 'pool list', 'audit verify'],
	run: async ({ client, args, signal }) =>
		show(await client.routes.tenant.get({ params: { tenant: tenantName(args['tenant'] ?? '') } }, { signal })),
});

const destroy = defineCommand({
	noun: 'tenant',
	verb: 'destroy',
	summary: 'Destroy a tenant with all it has',
	effect:
		'Stops and erases all instances of the tenant with their data, then its pools, secrets, checkpoints and retained messages. Its audit trail stays. This cannot be undone.',
	args: [TENANT],
	examples: [
		['mvm tenant destroy acme', 'Asks for the name, then destroys.'],
		['mvm tenant destroy acme --yes', 'For scripts.'],
	],
	related: ['tenant list', 'pool destroy'],
	destroys: (args) => `tenant ${args['tenant']} with all instances, data, secrets and messages`,
	run: async ({ client, args, signal }) => {
		const tenant = tenantName(args['tenant'] ?? '');
		await client.routes.tenant.destroy({ params: { tenant } }, { signal });
		return { value: { destroyed: tenant }, words: `Tenant ${tenant} is gone.` };
	},
});

const suspend = defineCommand({
	noun: 'tenant',
	verb: 'suspend',
	summary: 'Stop serving a tenant',
	effect:
		'From now on requests of the tenant are refused and its messages are kept but not delivered. Running instances go on until policy puts them to sleep. mvm tenant resume ends it.',
	args: [TENANT],
	options: [{ flags: '--reason <text>', summary: 'Shown to the tenant', default: 'suspended by the operator' }],
	examples: [
		['mvm tenant suspend acme', 'With the default reason.'],
		["mvm tenant suspend acme --reason 'unpaid'", 'The tenant sees why.'],
	],
	related: ['tenant resume', 'ingress list'],
	run: async ({ client, args, options, signal }) => {
		const input = { params: { tenant: tenantName(args['tenant'] ?? '') }, body: { reason: textOption(options, 'reason') ?? '' } };
		return show(await client.routes.tenant.suspend(input, { signal }));
	},
});

const resume = defineCommand({
	noun: 'tenant',
	verb: 'resume',
	summary: 'Serve a suspended tenant again',
	effect: 'Ends a suspension: requests pass, and messages that were kept are delivered in order.',
	args: [TENANT],
	examples: [
		['mvm tenant resume acme', 'Kept messages start to flow.'],
		['mvm tenant resume acme --json', 'The tenant as JSON.'],
	],
	related: ['tenant suspend'],
	run: async ({ client, args, signal }) =>
		show(await client.routes.tenant.resume({ params: { tenant: tenantName(args['tenant'] ?? '') } }, { signal })),
});

async function secretValue({ options, io }: CommandContext): Promise<string> {
	const file = textOption(options, 'fromFile');
	if (file === undefined && io.ask !== undefined) return io.ask('Value (shown while you type; better: --from-file): ');
	if (file === undefined) {
		throw new MvmError('USAGE', 'no value was given', { hint: '--from-file FILE, or --from-file - to read standard input' });
	}
	const value = file === '-' ? await readStream(process.stdin) : await readFile(file, 'utf8');
	return value.replace(/\r?\n$/, '');
}

const secretsSet = defineCommand({
	noun: 'tenant secrets',
	verb: 'set',
	summary: 'Set a secret of a tenant',
	effect:
		'Stores the value encrypted. Instances whose integrations are scoped to it get it at their next start or wake. The value is never shown again and is in no log and no audit record.',
	args: [TENANT, { name: 'name', summary: 'Name like an environment variable: MODEL_KEY' }],
	options: [
		{ flags: '--from-file <path>', summary: 'File with the value; - for standard input; one newline at its end is dropped' },
	],
	examples: [
		['mvm tenant secrets set acme MODEL_KEY --from-file key.txt', 'From a file.'],
		['pass model-key | mvm tenant secrets set acme MODEL_KEY --from-file -', 'From another program.'],
	],
	related: ['tenant secrets list', 'deploy'],
	run: async (context) => {
		const { client, args, signal } = context;
		const params = { tenant: tenantName(args['tenant'] ?? ''), secret: args['name'] ?? '' };
		const secret = await client.routes.secret.set({ params, body: { value: await secretValue(context) } }, { signal });
		return { value: ROUTES['secret.set'].response.encode(secret), words: `Secret ${secret.name} of ${params.tenant} is set.` };
	},
});

const secretsList = defineCommand({
	noun: 'tenant secrets',
	verb: 'list',
	summary: "List the names of a tenant's secrets",
	effect: 'Lists names and when each was set. No command shows values. Changes nothing.',
	args: [TENANT],
	examples: [
		['mvm tenant secrets list acme', 'Names and times.'],
		['mvm tenant secrets list acme --json', 'The same as JSON.'],
	],
	related: ['tenant secrets set'],
	run: async ({ client, args, signal }) => {
		const answer = await client.routes.secret.list({ params: { tenant: tenantName(args['tenant'] ?? '') } }, { signal });
		const rows = answer.items.map((one) => [one.name, text(one.version), one.createdAt]);
		return { value: ROUTES['secret.list'].response.encode(answer), table: { columns: ['name', 'version', 'set'], rows } };
	},
});

export const tenantCommands: readonly Command[] = [create, list, info, suspend, resume, destroy, secretsSet, secretsList];
