// Opens the platform's store: the embedded Postgres as a child of the daemon, or the operator's own by MVM_DATABASE_URL.
import { join } from 'node:path';
import { systemClock } from '../drivers/clock/system.ts';
import { installedPostgres } from '../drivers/postgres/binaries.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../drivers/postgres/embedded.ts';
import type { Logger } from '../platform/logger.ts';
import type { Paths } from '../platform/paths.ts';
import { type Database, openDatabase, prepareEmbeddedStore, prepareUrlStore } from '../state/index.ts';

export interface OpenStore {
	readonly db: Database;
	/** Undefined with a server of the operator's. */
	readonly server: EmbeddedPostgres | undefined;
}

/** Starts or adopts the server, applies migrations, checks roles. Throws STORE_UNAVAILABLE or HOST_UNSUPPORTED. */
export async function openStore(paths: Paths, log: Logger, url: string | undefined): Promise<OpenStore> {
	const clock = systemClock;
	if (url !== undefined) {
		const { connection } = await prepareUrlStore(url);
		return { db: openDatabase({ connection, clock, log }), server: undefined };
	}
	const server = await startEmbeddedPostgres({
		binaries: installedPostgres(),
		dataDir: join(paths.postgresData, 'data'),
		socketDir: paths.postgresSocketDir,
		logFile: join(paths.postgresData, 'server.log'),
		clock,
		log,
	});
	const { connection, applied } = await prepareEmbeddedStore(server);
	log.info({ pid: server.pid, adopted: server.adopted, migrations: applied }, 'store ready');
	return { db: openDatabase({ connection, clock, log }), server };
}
