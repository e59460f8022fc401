// Starts one real Postgres for the `postgres` test project, with a migrated template database; ends with the run even
// when the run is killed. As root the server runs as nobody, from a copy of its programs (a checkout may be unreachable).
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { TestProject } from 'vitest/node';
import { installedPostgres, stagePostgres } from '../../packages/mvm/src/drivers/postgres/binaries.ts';
import { type EmbeddedPostgresOptions, startEmbeddedPostgres } from '../../packages/mvm/src/drivers/postgres/embedded.ts';
import { prepareEmbeddedStore } from '../../packages/mvm/src/state/prepare-store.ts';
import { realClock } from './real-clock.ts';

export interface TestServer {
	readonly socketDir: string;
	readonly superuser: string;
	readonly template: string;
	readonly logFile: string;
}

declare module 'vitest' {
	export interface ProvidedContext {
		postgres: TestServer;
	}
}

const TEMPLATE = 'mvm_template';

/** What a server of a test needs: a folder of its own, programs its user can run, and an end with this process. */
export function testServerOptions(folder: string): EmbeddedPostgresOptions {
	const isRoot = process.getuid?.() === 0;
	return {
		binaries: isRoot ? stagePostgres(join(folder, 'dist')) : installedPostgres(),
		dataDir: join(folder, 'data', 'pg'),
		socketDir: join(folder, 's'),
		logFile: join(folder, 'postgres.log'),
		user: isRoot ? { uid: 65_534, gid: 65_534 } : undefined,
		settings: { shared_buffers: '32MB', max_wal_size: '256MB' },
		dieWithParent: true,
		clock: realClock,
		log: pino({ level: 'silent' }),
	};
}

/** A folder that another user may pass through. */
export function makeServerFolder(): string {
	const folder = mkdtempSync(join(tmpdir(), 'mvm-pg-'));
	chmodSync(folder, 0o755);
	return folder;
}

/** vitest calls this once per run; the returned function ends the server. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
	const folder = makeServerFolder();
	await using cleanup = new AsyncDisposableStack();
	cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
	const options = testServerOptions(folder);
	const server = cleanup.use(await startEmbeddedPostgres({ ...options, settings: { fsync: 'off', shared_buffers: '32MB' } }));
	await prepareEmbeddedStore({ socketDir: server.socketDir, superuser: server.superuser, database: TEMPLATE });
	project.provide('postgres', {
		socketDir: server.socketDir,
		superuser: server.superuser,
		template: TEMPLATE,
		logFile: options.logFile,
	});
	const later = cleanup.move();
	return () => later.disposeAsync();
}
