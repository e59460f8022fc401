// What the platform remembers: retained messages, events, audit, and API keys.
import { type ApiKeyId, MvmError, newApiKeyId, parseApiKeyId, parseTenantId, type TenantId } from '@mvm/protocol';
import {
	createApiKey,
	findApiKey,
	getTenant,
	listApiKeys,
	listAudit,
	listEvents,
	listMessages,
	readMessage,
	resubmitMessage,
	revokeApiKey,
	type Tx,
	verifyAudit,
} from '../../state/index.ts';
import type { Handlers } from '../api-types.ts';
import { makeKeyText } from '../authenticate.ts';
import type { ControlDeps } from '../control-deps.ts';
import { visibleTenant } from '../follow-events.ts';
import { toAuditView, toEventView, toKeyView, toMessageDetail, toMessageView } from '../views.ts';
import { asPrincipal, cursorOf, limitOf, page, recordAct } from './common.ts';

type RecordHandlers = Pick<
	Handlers,
	| 'ingress.list'
	| 'ingress.show'
	| 'ingress.resubmit'
	| 'audit.list'
	| 'audit.verify'
	| 'event.list'
	| 'key.create'
	| 'key.list'
	| 'key.revoke'
>;

export function recordHandlers(deps: ControlDeps): RecordHandlers {
	const messageOf = async (tx: Tx, tenantId: TenantId, text: string) => {
		const id = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : 0;
		const message = await readMessage(tx, { tenantId, id });
		if (message !== undefined) return message;
		throw new MvmError('MESSAGE_NOT_FOUND', `tenant ${tenantId} has no message ${text.slice(0, 32)}`, {
			hint: `mvm ingress list ${tenantId} shows them`,
		});
	};
	return {
		'ingress.list': (_context, { params, query }) => {
			const tenantId = parseTenantId(params.tenant);
			const limit = limitOf(query.limit);
			const { state, poolId, channel } = query;
			return deps.db.asTenant(tenantId, async (tx) => {
				await getTenant(tx, tenantId);
				const rows = await listMessages(tx, { tenantId, state, poolId, channel, beforeId: cursorOf(query.after), limit });
				return page(rows, limit, toMessageView, (row) => row.id);
			});
		},
		'ingress.show': (_context, { params }) => {
			const tenantId = parseTenantId(params.tenant);
			return deps.db.asTenant(tenantId, async (tx) => toMessageDetail(await messageOf(tx, tenantId, params.message)));
		},
		'ingress.resubmit': (context, { params }) => {
			const tenantId = parseTenantId(params.tenant);
			return deps.db.asTenant(tenantId, async (tx) => {
				const message = await messageOf(tx, tenantId, params.message);
				if (!(await resubmitMessage(tx, { tenantId, id: message.id }))) {
					throw new MvmError('CONFLICT', `message ${message.id} is ${message.state}, only dead ones are delivered again`);
				}
				const target = `message/${message.id}`;
				await recordAct(deps, tx, context, { tenantId, action: 'ingress.resubmit', target });
				return toMessageView(await messageOf(tx, tenantId, params.message));
			});
		},
		'audit.list': (_context, { params, query }) => {
			const tenantId = parseTenantId(params.tenant);
			const limit = limitOf(query.limit);
			const beforeSeq = cursorOf(query.after);
			return deps.db.asTenant(tenantId, async (tx) => {
				const rows = await listAudit(tx, { tenantId, limit, ...(beforeSeq === undefined ? {} : { beforeSeq }) });
				return page(rows, limit, toAuditView, (row) => row.seq);
			});
		},
		'audit.verify': (_context, { params }) => {
			const tenantId = parseTenantId(params.tenant);
			return deps.db.asTenant(tenantId, (tx) => verifyAudit(tx, tenantId));
		},
		'event.list': async (context, { query }) => {
			const limit = limitOf(query.limit);
			const tenantId = visibleTenant(context.principal, query.tenantId);
			const filter = { tenantId, instanceId: query.instanceId, afterId: cursorOf(query.after), limit };
			const rows = await asPrincipal(deps, context.principal, (tx) => listEvents(tx, filter));
			return page(rows, limit, toEventView, (row) => row.id);
		},
		'key.create': async (context, { body }) => {
			const id = newApiKeyId(deps.random(4));
			const { text, hash } = makeKeyText(id, deps.random(32));
			const row = await deps.db.asSystem(async (tx) => {
				const made = await createApiKey(tx, { id, ...body, hash });
				const detail = { role: body.role, name: body.name };
				await recordAct(deps, tx, context, {
					tenantId: body.tenantId ?? undefined,
					action: 'key.create',
					target: `key/${id}`,
					detail,
				});
				return made;
			});
			return { ...toKeyView(row), key: text };
		},
		'key.list': (_context, { query }) =>
			deps.db.asSystem(async (tx) => {
				const rows = await listApiKeys(tx, query.tenantId === undefined ? {} : { tenantId: query.tenantId });
				return { items: rows.map(toKeyView), next: null };
			}),
		'key.revoke': (context, { params }) => {
			const id: ApiKeyId = parseApiKeyId(params.key);
			return deps.db.asSystem(async (tx) => {
				const before = await findApiKey(tx, id);
				const row = await revokeApiKey(tx, id);
				if (before?.revokedAt === null) {
					await recordAct(deps, tx, context, { tenantId: row.tenantId ?? undefined, action: 'key.revoke', target: `key/${id}` });
				}
				return toKeyView(row);
			});
		},
	};
}
