// Inbound events that a gateway has stored and not yet begun, from its database, strictly read-only and only under the schema this
// code knows. For mvm-openclaw's commands, which run as the owner of the file; the agent asks them.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Blocker } from './suspension.ts';
import { SCHEMAS, schemaVersion } from './versions.ts';

/**
 * Inbound events that are stored and not finished, per channel. An unknown schema, or a database that cannot be read, counts as
 * one event, with the reason as its message. No database yet means none.
 */
export function readPendingIngress(stateDir: string): Blocker[] {
	let database: DatabaseSync;
	const path = join(stateDir, 'state', 'openclaw.sqlite');
	const version = schemaVersion(path);
	if (version === 'absent') return [];
	if (version !== SCHEMAS.state) {
		const found = version === 'unreadable' ? 'it cannot be read' : `it has schema ${version}, known is ${SCHEMAS.state}`;
		return [{ kind: 'ingress-unknown', count: 1, message: `the gateway's database was not looked into: ${found}` }];
	}
	try {
		database = new DatabaseSync(path, { readOnly: true, timeout: 1_000 });
	} catch (error) {
		return [{ kind: 'ingress-unknown', count: 1, message: `the gateway's database does not open: ${String(error)}` }];
	}
	try {
		const rows = database
			.prepare(
				"select channel_id, count(*) as waiting from channel_ingress_events where status not in ('completed', 'failed') group by channel_id",
			)
			.all();
		return rows.map((row) => ({
			kind: 'ingress-pending',
			count: Number(row['waiting']),
			message: `${String(row['waiting'])} stored events of ${String(row['channel_id'])} are not answered yet`,
		}));
	} catch (error) {
		return [{ kind: 'ingress-unknown', count: 1, message: `the gateway's ingress table does not read: ${String(error)}` }];
	} finally {
		database.close();
	}
}
