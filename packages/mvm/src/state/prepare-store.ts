// Everything between "a server answers" and "units of work can run": version floor, roles, database, schema, migrations,
// and the check that nothing steps around row-level security. Called by main/ and by test support; idempotent.
import pg from 'pg';
import { type Connection, clientConfig } from './database.ts';
import { lockPreparation, migrate } from './migrate.ts';
import { asStoreError } from './retry.ts';
import { checkRoles, checkServerVersion, ensureRoles } from './roles.ts';

/** The role that the embedded server's units connect as. */
const APP_ROLE = 'mvm_app';

export interface PreparedStore {
	readonly connection: Connection;
	/** Schema numbers that were applied now; empty when the store was up to date. */
	readonly applied: readonly number[];
}

/** Prepares the embedded server: its superuser makes the roles and the database and is not used afterwards. */
export async function prepareEmbeddedStore(input: {
	readonly socketDir: string;
	readonly superuser: string;
	readonly database?: string;
}): Promise<PreparedStore> {
	const { socketDir, superuser, database = 'mvm' } = input;
	await withClient({ socketDir, database: 'postgres', user: superuser }, async (client) => {
		await lockPreparation(client);
		await ensureRoles(client, APP_ROLE);
		const { rows } = await client.query('select 1 from pg_database where datname = $1', [database]);
		if (rows.length === 0) await client.query(`create database ${client.escapeIdentifier(database)} owner mvm_owner`);
		await client.query(`revoke all on database ${client.escapeIdentifier(database)} from public`);
		await client.query(`grant connect on database ${client.escapeIdentifier(database)} to ${APP_ROLE}`);
	});
	const connection = { socketDir, database, user: APP_ROLE };
	return { connection, applied: await withClient(connection, (client) => prepareSchema(client, APP_ROLE)) };
}

/** Prepares a server of the operator's. Throws HOST_UNSUPPORTED with what to do when it cannot serve. */
export async function prepareUrlStore(url: string): Promise<PreparedStore> {
	const connection = { url };
	const applied = await withClient(connection, async (client) => {
		await lockPreparation(client);
		await checkServerVersion(client);
		const { rows } = await client.query<{ user: string }>('select session_user as user');
		const member = rows[0]?.user ?? '';
		await checkRoles(client, member);
		await ensureRoles(client, member);
		return prepareSchema(client, member);
	});
	return { connection, applied };
}

async function prepareSchema(client: pg.Client, member: string): Promise<readonly number[]> {
	await lockPreparation(client);
	await checkServerVersion(client);
	await checkRoles(client, member);
	const { rows } = await client.query("select 1 from pg_namespace where nspname = 'mvm'");
	if (rows.length === 0) await createSchema(client);
	return migrate(client);
}

/** The owner makes it where it may (the embedded database is its own), else the user who connects does. */
async function createSchema(client: pg.Client): Promise<void> {
	const { rows } = await client.query<{ ok: boolean }>(
		"select has_database_privilege('mvm_owner', current_database(), 'CREATE') as ok",
	);
	await client.query('begin');
	if (rows[0]?.ok === true) await client.query('set local role mvm_owner');
	await client.query('create schema mvm authorization mvm_owner');
	await client.query('set local role mvm_owner');
	await client.query('grant usage on schema mvm to mvm_system, mvm_tenant');
	await client.query('commit');
}

async function withClient<T>(connection: Connection, use: (client: pg.Client) => Promise<T>): Promise<T> {
	const client = new pg.Client(clientConfig(connection));
	client.on('error', () => {}); // the query under way rejects with the same error
	try {
		await client.connect();
		return await use(client);
	} catch (error) {
		throw asStoreError(error, 'running');
	} finally {
		await client.end().catch(() => {}); // not connected: nothing to end
	}
}
