// `mvm ingress …`, `mvm audit …`, `mvm events`, `mvm key …`: what the platform remembers and who may ask.
import { type IngressMessageView, KEY_ROLES, type KeyRole, MESSAGE_STATES, ROUTES } from '@mvm/protocol';
import { type Command, defineCommand } from '../define-command.ts';
import { tenantName, textOption, wholeNumber } from '../names.ts';
import { bytes, fields, text } from '../render.ts';

const TENANT = { name: 'tenant', summary: 'Name of the tenant' };
const MESSAGE = { name: 'message', summary: 'Number of the message, from mvm ingress list' };
const wire = (message: IngressMessageView): unknown => ROUTES['ingress.resubmit'].response.encode(message);

const ingressList = defineCommand({
	noun: 'ingress',
	verb: 'list',
	summary: 'List retained messages',
	effect:
		'Lists inbound messages, newest first: pending ones wait for delivery, taken ones for a checkpoint, dead ones for you. Settled ones are kept as a trace without their body. Changes nothing.',
	args: [TENANT],
	options: [
		{ flags: '--state <state>', summary: 'Only in this state', choices: MESSAGE_STATES },
		{ flags: '--channel <name>', summary: 'Only of this channel' },
		{ flags: '--limit <n>', summary: 'At most so many', default: '50' },
	],
	examples: [
		['mvm ingress list acme', 'The newest 50.'],
		['mvm ingress list acme --state dead', 'What could not be delivered.'],
	],
	related: ['ingress show', 'ingress resubmit'],
	run: async ({ client, args, options, signal }) => {
		const query = {
			state: textOption(options, 'state') as IngressMessageView['state'] | undefined,
			channel: textOption(options, 'channel'),
			limit: String(wholeNumber(textOption(options, 'limit') ?? '', '--limit')),
		};
		const answer = await client.routes.ingress.list({ params: { tenant: tenantName(args['tenant'] ?? '') }, query }, { signal });
		const rows = answer.items.map((one) => [
			text(one.id),
			one.state,
			`${one.poolId}/${one.channel}`,
			one.eventId,
			one.orderKey === '' ? '-' : one.orderKey,
			text(one.attempts),
			bytes(one.bodyBytes),
			one.receivedAt,
			text(one.lastError),
		]);
		const columns = ['message', 'state', 'channel', 'event', 'order', 'attempts', 'size', 'received', 'last error'];
		return { value: ROUTES['ingress.list'].response.encode(answer), table: { columns, rows } };
	},
});

const ingressShow = defineCommand({
	noun: 'ingress',
	verb: 'show',
	summary: 'Show a retained message with its body',
	effect: "Shows one message with headers and body. The sender's secret is not part of it. Changes nothing.",
	args: [TENANT, MESSAGE],
	examples: [
		['mvm ingress show acme 42', 'Message 42.'],
		['mvm ingress show acme 42 --json', 'With the body in base64.'],
	],
	related: ['ingress list', 'ingress resubmit'],
	run: async ({ client, args, signal }) => {
		const params = { tenant: tenantName(args['tenant'] ?? ''), message: args['message'] ?? '' };
		const one = await client.routes.ingress.show({ params }, { signal });
		const table = fields([
			['message', one.id],
			['state', one.state],
			['pool', `${one.tenantId}/${one.poolId}`],
			['channel', `${one.channel}${one.path}`],
			['event', one.eventId],
			['order', one.orderKey],
			['received', one.receivedAt],
			['attempts', one.attempts],
			['next attempt', one.nextAttemptAt],
			['taken', one.takenAt === null ? null : `${one.takenAt} by ${one.instanceId}`],
			['checkpoint', one.checkpointId],
			['last error', one.lastError],
			['trace', one.traceId],
			...Object.entries(one.headers).map(([name, value]) => [`header ${name}`, value] as const),
			[
				'body',
				one.bodyBase64 === null ? 'given up: a checkpoint contains it' : Buffer.from(one.bodyBase64, 'base64').toString('utf8'),
			],
		]);
		return { value: ROUTES['ingress.show'].response.encode(one), table };
	},
});

const ingressResubmit = defineCommand({
	noun: 'ingress',
	verb: 'resubmit',
	summary: 'Deliver a dead message again',
	effect: 'Puts a dead letter back in its lane with fresh attempts; it goes before later messages of its lane that still wait.',
	args: [TENANT, MESSAGE],
	examples: [
		['mvm ingress resubmit acme 42', 'Message 42 is delivered again.'],
		['mvm ingress resubmit acme 42 --json', 'The message as JSON.'],
	],
	related: ['ingress list'],
	run: async ({ client, args, signal }) => {
		const params = { tenant: tenantName(args['tenant'] ?? ''), message: args['message'] ?? '' };
		const one = await client.routes.ingress.resubmit({ params }, { signal });
		return { value: wire(one), words: `Message ${one.id} is pending again. See it: mvm ingress show ${one.tenantId} ${one.id}` };
	},
});

const auditVerify = defineCommand({
	noun: 'audit',
	verb: 'verify',
	summary: "Verify a tenant's audit chain",
	effect:
		'Reads the whole chain and checks that no record was changed, removed, reordered or cut off. Exits 1 when it does not verify. Changes nothing.',
	args: [TENANT],
	examples: [
		['mvm audit verify acme', 'Says how many records verify.'],
		['mvm audit verify acme --json', 'With the hash of the last record, to be kept elsewhere.'],
	],
	related: ['audit list'],
	run: async ({ client, args, signal }) => {
		const answer = await client.routes.audit.verify({ params: { tenant: tenantName(args['tenant'] ?? '') } }, { signal });
		const table = fields([
			['tenant', answer.tenantId],
			['verifies', answer.ok ? 'yes' : 'NO'],
			['records', answer.entries],
			['first bad record', answer.firstBadSeq],
			['reason', answer.reason],
			['last hash', answer.headHash],
		]);
		return { value: ROUTES['audit.verify'].response.encode(answer), table, exitCode: answer.ok ? 0 : 1 };
	},
});

const auditList = defineCommand({
	noun: 'audit',
	verb: 'list',
	summary: "List a tenant's audit records",
	effect: 'Lists who did what, newest first. Changes nothing.',
	args: [TENANT],
	options: [{ flags: '--limit <n>', summary: 'At most so many', default: '50' }],
	examples: [
		['mvm audit list acme', 'The newest 50.'],
		['mvm audit list acme --limit 500 --json', 'For another program.'],
	],
	related: ['audit verify', 'events'],
	run: async ({ client, args, options, signal }) => {
		const limit = String(wholeNumber(textOption(options, 'limit') ?? '', '--limit'));
		const answer = await client.routes.audit.list(
			{ params: { tenant: tenantName(args['tenant'] ?? '') }, query: { limit } },
			{ signal },
		);
		const rows = answer.items.map((one) => [text(one.seq), one.at, one.actor, one.action, one.target, one.outcome]);
		const columns = ['record', 'time', 'actor', 'action', 'target', 'outcome'];
		return { value: ROUTES['audit.list'].response.encode(answer), table: { columns, rows } };
	},
});

const events = defineCommand({
	verb: 'events',
	summary: 'List or follow events',
	effect:
		'Prints what happened: wakes, sleeps, deliveries, changes. With --follow it goes on until interrupted, over restarts of the platform; with --json one JSON value per line. Changes nothing.',
	options: [
		{ flags: '--follow', summary: 'Go on with what comes' },
		{ flags: '--tenant <tenant>', summary: 'Only of this tenant' },
		{ flags: '--last <n>', summary: 'Begin with the newest so many', default: '20' },
	],
	examples: [
		['mvm events --tenant acme', 'The newest 20 of acme.'],
		['mvm events --follow --json', 'One JSON value per line, as it happens.'],
	],
	related: ['audit list', 'instance info'],
	run: async ({ client, options, signal, stream }) => {
		const tenant = textOption(options, 'tenant');
		const tenantId = tenant === undefined ? undefined : tenantName(tenant);
		const limit = wholeNumber(textOption(options, 'last') ?? '', '--last');
		const encode = ROUTES['event.list'].response.encode;
		const past =
			limit === 0 ? [] : (await client.routes.event.list({ query: { tenantId, limit: String(limit) } }, { signal })).items;
		const row = (one: (typeof past)[number]): string[] => [
			one.at,
			[one.tenantId, one.poolId, one.instanceId].filter((part) => part !== null).join('/'),
			one.kind,
			JSON.stringify(one.detail),
		];
		if (options['follow'] !== true) {
			return {
				value: encode({ items: past, next: null }).items,
				table: { columns: ['time', 'of', 'what', 'detail'], rows: past.map(row) },
			};
		}
		const show = (one: (typeof past)[number]): void =>
			stream({ value: encode({ items: [one], next: null }).items[0], text: row(one).join('  ') });
		for (const one of past) show(one);
		const last = past.at(-1);
		const after = last === undefined ? undefined : String(last.id);
		for await (const one of client.follow({ tenantId, after }, { signal })) show(one);
		return undefined;
	},
});

const keyCreate = defineCommand({
	noun: 'key',
	verb: 'create',
	summary: 'Make an API key',
	effect:
		'Makes a key and prints it once; only its hash is stored. An operator key may do everything, a tenant_admin everything in its tenant, a tenant_user may send requests to its instances.',
	args: [{ name: 'name', summary: 'What it is for, for people' }],
	options: [
		{ flags: '--role <role>', summary: 'What it may do', default: 'tenant_admin', choices: KEY_ROLES },
		{ flags: '--tenant <tenant>', summary: 'Whose it is; not for operators' },
	],
	examples: [
		['mvm key create ci --tenant acme', 'A key for the administration of acme.'],
		['mvm key create root --role operator', 'A key that may do everything.'],
	],
	related: ['key list', 'key revoke'],
	run: async ({ client, args, options, signal }) => {
		const tenant = textOption(options, 'tenant');
		const role = (textOption(options, 'role') ?? 'tenant_admin') as KeyRole;
		const body = { name: args['name'] ?? '', role, tenantId: tenant === undefined ? null : tenantName(tenant) };
		const made = await client.routes.key.create({ body }, { signal });
		const table = fields([
			['id', made.id],
			['role', made.role],
			['tenant', made.tenantId],
			['key', made.key],
		]);
		return { value: ROUTES['key.create'].response.encode(made), table, words: 'Keep the key now: it is not shown again.' };
	},
});

const keyList = defineCommand({
	noun: 'key',
	verb: 'list',
	summary: 'List API keys',
	effect: 'Lists keys without the keys themselves, revoked ones too. Changes nothing.',
	options: [{ flags: '--tenant <tenant>', summary: 'Only of this tenant' }],
	examples: [
		['mvm key list', 'All keys.'],
		['mvm key list --tenant acme', 'Those of acme.'],
	],
	related: ['key create', 'key revoke'],
	run: async ({ client, options, signal }) => {
		const tenant = textOption(options, 'tenant');
		const query = { tenantId: tenant === undefined ? undefined : tenantName(tenant) };
		const answer = await client.routes.key.list({ query }, { signal });
		const rows = answer.items.map((one) => [one.id, one.role, text(one.tenantId), one.name, one.createdAt, text(one.revokedAt)]);
		const columns = ['id', 'role', 'tenant', 'name', 'created', 'revoked'];
		return { value: ROUTES['key.list'].response.encode(answer), table: { columns, rows } };
	},
});

const keyRevoke = defineCommand({
	noun: 'key',
	verb: 'revoke',
	summary: 'End an API key for good',
	effect: 'The key stops working within a second and cannot be made valid again. Its name stays in the audit trail.',
	args: [{ name: 'key', summary: 'Id of the key, from mvm key list' }],
	examples: [
		['mvm key revoke key-0123abcd', 'Asks for the id, then revokes.'],
		['mvm key revoke key-0123abcd --yes', 'For scripts.'],
	],
	related: ['key list'],
	destroys: (args) => `key ${args['key']}: whoever uses it is locked out`,
	run: async ({ client, args, signal }) => {
		const one = await client.routes.key.revoke({ params: { key: args['key'] ?? '' } }, { signal });
		return { value: ROUTES['key.revoke'].response.encode(one), words: `Key ${one.id} is revoked.` };
	},
});

export const recordCommands: readonly Command[] = [
	ingressList,
	ingressShow,
	ingressResubmit,
	auditVerify,
	auditList,
	events,
	keyCreate,
	keyList,
	keyRevoke,
];
