// Makes and checks the database roles. Run once at start by migrate-store; needs the right to create roles only when
// one is missing.
//   mvm_owner   owns schema and tables, runs migrations, sees no rows (row-level security is forced)
//   mvm_system  the platform's own loops: all rows      mvm_tenant  one tenant's rows, named per transaction
//   session     who connects; without own rights, may only switch to the others
import { MvmError } from '@mvm/protocol';
import type { ClientBase } from 'pg';

export const FLOOR_VERSION = 15;
const GROUP_ROLES = ['mvm_owner', 'mvm_system', 'mvm_tenant'] as const;

/** Throws HOST_UNSUPPORTED when the server is older than the floor. */
export async function checkServerVersion(client: ClientBase): Promise<void> {
	const { rows } = await client.query<{ version: string }>("select current_setting('server_version_num') as version");
	const major = Math.floor(Number(rows[0]?.version ?? 0) / 10_000);
	if (major >= FLOOR_VERSION) return;
	throw new MvmError('HOST_UNSUPPORTED', `the database server is Postgres ${major}; at least ${FLOOR_VERSION} is needed`, {
		details: { found: major, floor: FLOOR_VERSION },
		hint: 'upgrade the server, or unset MVM_DATABASE_URL to use the embedded one',
	});
}

/** Creates missing roles and lets `member` switch to them. Idempotent. */
export async function ensureRoles(client: ClientBase, member: string): Promise<void> {
	const { rows } = await client.query<{ name: string }>('select rolname as name from pg_roles where rolname = any($1)', [
		[...GROUP_ROLES, member],
	]);
	const present = new Set(rows.map((row) => row.name));
	const quoted = client.escapeIdentifier(member);
	try {
		for (const role of GROUP_ROLES) {
			if (!present.has(role)) await createRole(client, `${role} nologin noinherit`);
		}
		if (!present.has(member)) await createRole(client, `${quoted} login noinherit`);
		for (const role of GROUP_ROLES) {
			const { rows: may } = await client.query<{ ok: boolean }>("select pg_has_role($1, $2, 'MEMBER') as ok", [member, role]);
			if (may[0]?.ok !== true) await client.query(`grant ${role} to ${quoted}`);
		}
	} catch (cause) {
		throw new MvmError('HOST_UNSUPPORTED', `the database user may not create the roles ${GROUP_ROLES.join(', ')}`, {
			details: { user: member },
			hint: `let an administrator run: create role mvm_owner nologin; create role mvm_system nologin; create role mvm_tenant nologin; grant mvm_owner, mvm_system, mvm_tenant to ${quoted};`,
			cause,
		});
	}
}

/** Two processes may create the same role at once; the second finds it there. */
async function createRole(client: ClientBase, definition: string): Promise<void> {
	try {
		await client.query(`create role ${definition} nosuperuser nobypassrls nocreatedb nocreaterole`);
	} catch (error) {
		const code = (error as { code?: string }).code;
		if (code !== '42710' && code !== '23505') throw error;
	}
}

/**
 * Throws HOST_UNSUPPORTED when a runtime role, or the user who connects, could step around row-level security.
 * There is no way to allow it: every promise about tenants stands on this.
 */
export async function checkRoles(client: ClientBase, member: string): Promise<void> {
	const { rows } = await client.query<{ name: string }>(
		'select rolname as name from pg_roles where rolname = any($1) and (rolsuper or rolbypassrls)',
		[[...GROUP_ROLES, member]],
	);
	if (rows.length === 0) return;
	const names = rows.map((row) => row.name);
	throw new MvmError('HOST_UNSUPPORTED', `database roles that step around row-level security are refused: ${names.join(', ')}`, {
		details: { roles: names },
		hint: 'connect as an ordinary user: create role mvm_app login noinherit createrole; then grant it CREATE on the database',
	});
}
