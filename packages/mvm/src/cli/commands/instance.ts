// `mvm instance …`: single sandboxes, what is done to them and what is known about them.
import { INSTANCE_STATES, type InstanceView, ROUTES, type WakeResult } from '@mvm/protocol';
import { type Command, type CommandContext, defineCommand, type Shown } from '../define-command.ts';
import { checkedInstance, poolName, seconds, tenantName, textOption, wholeNumber } from '../names.ts';
import { bytes, fields, milliseconds, text } from '../render.ts';

const INSTANCE = { name: 'instance', summary: '<tenant>/<pool>/<instance>, or the id alone' };
const FORCE = { flags: '--force', summary: 'Go on over inhibitors and failing checkpoints; recorded in the audit' };
const TIMEOUT = { flags: '--timeout <duration>', summary: 'Give up waiting after this long', unit: 's, m or h' };
const wire = (one: InstanceView): unknown => ROUTES['instance.get'].response.encode(one);
const nameOf = (one: InstanceView): string => `${one.tenantId}/${one.poolId}/${one.id}`;
const stateOf = (one: InstanceView): string => {
	const word = one.state === 'sleeping' ? `sleeping (${one.hibernated ? 'memory on disk' : 'cold'})` : one.state;
	return one.operation === null ? word : `${word}, ${one.operation.kind}: ${one.operation.step}`;
};

function show(one: InstanceView, words?: string): Shown {
	const conditions = one.conditions.filter((condition) => condition.status).map((c) => `${c.type}: ${c.message}`);
	const table = fields([
		['instance', nameOf(one)],
		['state', stateOf(one)],
		['incarnation', one.incarnation],
		['image', one.image?.slice(0, 12)],
		['pid', one.pid],
		['memory', one.memory === null ? null : `${bytes(one.memory.chargedBytes)} charged, ${bytes(one.memory.swapBytes)} on disk`],
		['kept awake by', one.inhibitors.join(', ')],
		['conditions', conditions.join('; ')],
		['checkpoint', one.checkpointId],
		['failures', one.failures],
		['last busy', one.lastBusyAt],
		['created', one.createdAt],
	]);
	return { value: wire(one), table, ...(words === undefined ? {} : { words }) };
}

const create = defineCommand({
	noun: 'instance',
	verb: 'create',
	summary: 'Make an instance of a pool',
	effect: 'Makes one more instance, ready to start. Usually not needed: mvm pool scale, a message or a request makes them.',
	args: [{ name: 'pool', summary: '<tenant>/<pool>' }],
	examples: [
		['mvm instance create acme/workers', 'One more instance.'],
		['mvm instance create acme/workers --json', 'Its id for a script.'],
	],
	related: ['pool scale', 'instance start'],
	run: async ({ client, args, signal }) => {
		const one = await client.routes.instance.create({ body: poolName(args['pool'] ?? '') }, { signal });
		return show(one, `Instance ${one.id} is ready. Next: mvm instance start ${nameOf(one)}`);
	},
});

const list = defineCommand({
	noun: 'instance',
	verb: 'list',
	summary: 'List instances',
	effect: 'Lists instances with state and memory. Changes nothing and wakes nothing.',
	options: [
		{ flags: '--tenant <tenant>', summary: 'Only of this tenant' },
		{ flags: '--pool <pool>', summary: 'Only of this pool: <tenant>/<pool>' },
		{ flags: '--state <state>', summary: 'Only in this state', choices: INSTANCE_STATES },
	],
	examples: [
		['mvm instance list', 'All instances.'],
		['mvm instance list --tenant acme --state sleeping', 'Those of acme that are asleep.'],
	],
	related: ['instance info', 'pool list'],
	run: async ({ client, options, signal }) => {
		const pool = textOption(options, 'pool');
		const tenant = textOption(options, 'tenant');
		const query = {
			...(tenant === undefined ? {} : { tenantId: tenantName(tenant) }),
			...(pool === undefined ? {} : poolName(pool)),
			state: textOption(options, 'state') as InstanceView['state'] | undefined,
		};
		const { items } = await client.routes.instance.list({ query }, { signal });
		const rows = items.map((one) => [
			nameOf(one),
			stateOf(one),
			bytes(one.memory?.chargedBytes),
			bytes(one.memory?.swapBytes),
			text(one.incarnation),
			one.conditions
				.filter((condition) => condition.status)
				.map((condition) => condition.type)
				.join(', '),
		]);
		const columns = ['instance', 'state', 'memory', 'on disk', 'incarnation', 'conditions'];
		return { value: items.map(wire), table: { columns, rows } };
	},
});

const info = defineCommand({
	noun: 'instance',
	verb: 'info',
	summary: 'Show an instance',
	effect: 'Shows state, what keeps it awake, conditions, memory and its last checkpoint. Changes nothing and wakes nothing.',
	args: [INSTANCE],
	examples: [
		['mvm instance info acme/workers/i-0123abcd', 'The main facts.'],
		['mvm instance info i-0123abcd -o yaml', 'Everything, with the operation in progress.'],
	],
	related: ['instance stats', 'instance logs'],
	run: async (context) => {
		const instance = await checkedInstance(context);
		return show(await context.client.routes.instance.get({ params: { instance } }, { signal: context.signal }));
	},
});

interface ActionSpec {
	readonly verb: 'start' | 'wake' | 'warm' | 'sleep' | 'stop';
	readonly summary: string;
	readonly effect: string;
	readonly examples: Command['examples'];
	readonly related: readonly string[];
	readonly done: string;
}

function action(spec: ActionSpec): Command {
	const isWake = spec.verb === 'start' || spec.verb === 'wake';
	return defineCommand({
		noun: 'instance',
		verb: spec.verb,
		summary: spec.summary,
		effect: spec.effect,
		args: [INSTANCE],
		options: isWake ? [TIMEOUT] : [FORCE, TIMEOUT],
		examples: spec.examples,
		related: spec.related,
		run: async (context) => {
			const instance = await checkedInstance(context);
			const { client, options, signal, io } = context;
			const timeout = textOption(options, 'timeout');
			const body = { force: options['force'] === true, timeoutSecs: timeout === undefined ? undefined : seconds(timeout) };
			io.progress(`${spec.verb} of ${instance} …`);
			const input = { params: { instance }, body };
			if (spec.verb === 'start' || spec.verb === 'wake')
				return showWake(await client.routes.instance[spec.verb](input, { signal }));
			const { instance: one } = await client.routes.instance[spec.verb](input, { signal });
			return show(one, `${nameOf(one)} ${spec.done}.`);
		},
	});
}

function showWake(result: WakeResult): Shown {
	const { instance, wake } = result;
	const steps = wake.steps.map((step) => `${step.name} ${milliseconds(step.ms)}`).join(', ');
	const words = `${nameOf(instance)} is awake: ${wake.outcome} in ${milliseconds(wake.totalMs)}${steps === '' ? '' : ` (${steps})`}.`;
	return { ...show(instance, words), value: ROUTES['instance.wake'].response.encode(result) };
}

const one = 'acme/workers/i-0123abcd';
const actions = [
	action({
		verb: 'start',
		summary: 'Boot a ready or stopped instance',
		effect: 'Starts the instance and waits until its workload is ready. Quotas apply.',
		examples: [
			[`mvm instance start ${one}`, 'Waits until it is ready.'],
			[`mvm instance start ${one} --timeout 2m`, 'Waits at most two minutes.'],
		],
		related: ['instance stop', 'instance wake'],
		done: 'runs',
	}),
	action({
		verb: 'wake',
		summary: 'Wake an instance',
		effect:
			'Brings the instance to running from any state, by the quickest way there is, and prints what that took. Messages and requests do the same by themselves.',
		examples: [
			[`mvm instance wake ${one}`, 'Prints outcome and time per step.'],
			[`mvm instance wake ${one} --json`, 'The same as one JSON value.'],
		],
		related: ['instance sleep', 'instance info'],
		done: 'is awake',
	}),
	action({
		verb: 'warm',
		summary: 'Freeze an instance',
		effect:
			'Checkpoints the integrations, drains, and freezes the instance in memory: the quickest to wake, at the cost of its memory.',
		examples: [
			[`mvm instance warm ${one}`, 'Freezes it when nothing keeps it awake.'],
			[`mvm instance warm ${one} --force`, 'Also over inhibitors.'],
		],
		related: ['instance wake', 'instance sleep'],
		done: 'is frozen',
	}),
	action({
		verb: 'sleep',
		summary: 'Put an instance to sleep',
		effect:
			'Checkpoints the integrations, drains, freezes, writes and verifies a checkpoint of /data, and gives the memory back. A critical integration that does not checkpoint keeps it running, unless forced.',
		examples: [
			[`mvm instance sleep ${one}`, 'Sleeps when nothing keeps it awake.'],
			[`mvm instance sleep ${one} --force`, 'Also over failing checkpoints; recorded in the audit.'],
		],
		related: ['instance wake', 'instance info'],
		done: 'sleeps',
	}),
	action({
		verb: 'stop',
		summary: 'Stop an instance',
		effect:
			'Ends its processes politely, then by force, and checkpoints /data. It stays stopped until it is started or something wakes it.',
		examples: [
			[`mvm instance stop ${one}`, 'Within its graceful timeout.'],
			[`mvm instance stop ${one} --force`, 'At once.'],
		],
		related: ['instance start', 'instance destroy'],
		done: 'is stopped',
	}),
];

const destroy = defineCommand({
	noun: 'instance',
	verb: 'destroy',
	summary: 'Destroy an instance and its data',
	effect:
		'Ends its processes and erases /data, secrets and memory on disk. Messages it had taken and no checkpoint contains are delivered to another instance. This cannot be undone.',
	args: [INSTANCE],
	examples: [
		[`mvm instance destroy ${one}`, 'Asks for the name, then destroys.'],
		[`mvm instance destroy ${one} --yes`, 'For scripts.'],
	],
	related: ['instance stop', 'pool scale'],
	destroys: (args) => `instance ${args['instance']} and its data`,
	run: async (context) => {
		const instance = await checkedInstance(context);
		await context.client.routes.instance.destroy({ params: { instance } }, { signal: context.signal });
		return { value: { destroyed: instance }, words: `Instance ${instance} is gone.` };
	},
});

const logs = defineCommand({
	noun: 'instance',
	verb: 'logs',
	summary: "Print the end of an instance's console log",
	effect: 'Prints the last bytes of what the guest agent and the workload wrote. Changes nothing and wakes nothing.',
	args: [INSTANCE],
	options: [{ flags: '--tail <n>', summary: 'How much of the end', unit: 'bytes', default: '65536' }],
	examples: [
		[`mvm instance logs ${one}`, 'The last 64 KiB.'],
		[`mvm instance logs ${one} --tail 2000`, 'Only the very end.'],
	],
	related: ['instance info', 'events'],
	run: async (context) => {
		const instance = await checkedInstance(context);
		const tailBytes = String(wholeNumber(textOption(context.options, 'tail') ?? '', '--tail'));
		const answer = await context.client.routes.instance.logs(
			{ params: { instance }, query: { tailBytes } },
			{ signal: context.signal },
		);
		return { value: ROUTES['instance.logs'].response.encode(answer), text: answer.text };
	},
});

const stats = defineCommand({
	noun: 'instance',
	verb: 'stats',
	summary: 'Show memory, CPU and what the supervisor says',
	effect: 'Measures the instance on the host and, while it is awake, asks its guest agent. Changes nothing and wakes nothing.',
	args: [INSTANCE],
	examples: [
		[`mvm instance stats ${one}`, 'Memory, CPU, data, workload.'],
		[`mvm instance stats ${one} --json`, 'With exact numbers.'],
	],
	related: ['instance info'],
	run: async (context: CommandContext) => {
		const instance = await checkedInstance(context);
		const answer = await context.client.routes.instance.stats({ params: { instance } }, { signal: context.signal });
		const { memory, supervisor } = answer;
		const table = fields([
			['instance', answer.instanceId],
			['state', answer.state],
			['pid', answer.pid],
			['memory charged', bytes(memory?.chargedBytes)],
			['memory resident', bytes(memory?.residentBytes)],
			['memory on disk', bytes(memory?.swapBytes)],
			['CPU time', answer.cpuMs === null ? null : milliseconds(answer.cpuMs)],
			['tasks', answer.tasks],
			['data', bytes(answer.dataBytes)],
			['killed for memory', answer.oomKills],
			['workload', supervisor?.workload.state],
			['restarts', supervisor?.workload.restarts],
			['busy with', supervisor?.busyReasons.join(', ')],
		]);
		return { value: ROUTES['instance.stats'].response.encode(answer), table };
	},
});

export const instanceCommands: readonly Command[] = [create, list, info, ...actions, destroy, logs, stats];
