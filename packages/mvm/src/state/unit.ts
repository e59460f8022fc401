// One transaction on one connection under one role: begin, role and tenant travel together with the first statement
// (pipelined), commit follows. Called by database.ts; nothing else begins a transaction.
import {
	CamelCasePlugin,
	type CompiledQuery,
	type ConnectionProvider,
	type DatabaseConnection,
	type Dialect,
	DummyDriver,
	Kysely,
	PostgresAdapter,
	PostgresIntrospector,
	PostgresQueryCompiler,
	type QueryResult,
	Transaction,
} from 'kysely';
import type { ClientBase } from 'pg';
import type { Phase } from './retry.ts';
import type { Tables } from './tables.ts';

/** A transaction of the store. Dead once its unit has ended. */
export type Tx = Transaction<Tables>;

/** Who a unit acts for: the platform itself, or exactly one tenant. */
export type Scope = { readonly role: 'mvm_system' } | { readonly role: 'mvm_tenant'; readonly tenant: string };

/** Statements beyond this many different texts are sent unprepared, so that generated SQL cannot fill the server. */
const MAX_PREPARED = 200;

const dialect: Dialect = {
	createAdapter: () => new PostgresAdapter(),
	createDriver: () => new DummyDriver(),
	createIntrospector: (db) => new PostgresIntrospector(db),
	createQueryCompiler: () => new PostgresQueryCompiler(),
};

/** Makes transactions that share one query compiler and one table of prepared statement names. */
export class UnitRunner {
	readonly #config = { dialect, plugins: [new CamelCasePlugin({ maintainNestedObjectKeys: true })] };
	readonly #kysely = new Kysely<Tables>(this.#config);
	readonly #names = new Map<string, string>();

	/**
	 * Runs `work` in one transaction and commits. On any failure the transaction is rolled back (or the connection is
	 * lost) and the failure is thrown; `onPhase` tells how far it had come.
	 */
	async run<T>(client: ClientBase, scope: Scope, work: (tx: Tx) => Promise<T>, onPhase: (phase: Phase) => void): Promise<T> {
		onPhase('running');
		const connection = new UnitConnection(client, scope.role, this.#names);
		const provider: ConnectionProvider = { provideConnection: (consumer) => consumer(connection) };
		const tx = new Transaction<Tables>({
			config: this.#config,
			dialect,
			driver: new DummyDriver(),
			executor: this.#kysely.getExecutor().withConnectionProvider(provider),
		});
		const begun = client.query(preamble(scope));
		begun.catch(() => {}); // awaited below; a failure must not be called unhandled meanwhile
		try {
			const result = await work(tx);
			await begun;
			connection.end();
			onPhase('committing');
			const { command } = await client.query('commit');
			if (command !== 'COMMIT') throw new Error('the transaction had failed before and was rolled back');
			return result;
		} catch (error) {
			connection.end();
			const first = await begun.then(
				() => error,
				(cause: unknown) => cause,
			);
			await client.query('rollback').catch(() => {}); // no answer: the connection is gone and with it the transaction
			throw first;
		}
	}
}

/** Tenant ids are [a-z0-9-] (checked here too, as the text goes into SQL), so quoting is complete. */
function preamble(scope: Scope): string {
	if (scope.role === 'mvm_system') return "begin; set local role mvm_system; set local mvm.tenant = ''";
	if (!/^[a-z0-9-]{1,63}$/.test(scope.tenant)) throw new TypeError('not a tenant id');
	return `begin; set local role mvm_tenant; set local mvm.tenant = '${scope.tenant}'`;
}

class UnitConnection implements DatabaseConnection {
	readonly #client: ClientBase;
	readonly #role: string;
	readonly #names: Map<string, string>;
	#ended = false;

	constructor(client: ClientBase, role: string, names: Map<string, string>) {
		this.#client = client;
		this.#role = role;
		this.#names = names;
	}

	end(): void {
		this.#ended = true;
	}

	async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
		if (this.#ended) throw new Error('a transaction was used after its end');
		const name = this.#name(query.sql);
		const values = [...query.parameters];
		const result = await this.#client.query(name === undefined ? { text: query.sql, values } : { name, text: query.sql, values });
		const rows = (result.rows ?? []) as R[];
		return result.rowCount === null || result.command === 'SELECT'
			? { rows }
			: { rows, numAffectedRows: BigInt(result.rowCount) };
	}

	/** A plan depends on the role (row-level security), so each role has its own name for a statement. */
	#name(text: string): string | undefined {
		let name = this.#names.get(text);
		if (name === undefined) {
			if (this.#names.size >= MAX_PREPARED) return undefined;
			name = `q${this.#names.size}`;
			this.#names.set(text, name);
		}
		return `${this.#role === 'mvm_system' ? 's' : 't'}${name}`;
	}

	// biome-ignore lint/correctness/useYield: streaming is not offered: a cursor cannot share a pipelined connection
	async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
		throw new Error('streaming is not offered by the store; page with a limit');
	}
}
