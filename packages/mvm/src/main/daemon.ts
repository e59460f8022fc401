// mvm-daemon: the unprivileged half that serves. Started by `mvm up` or a service manager. SIGTERM ends it and leaves the
// sandboxes alive for the next one to adopt; SIGINT puts every instance to rest first.
import { parseConfig } from '../platform/config.ts';
import { makeLogger } from '../platform/logger.ts';
import { resolvePaths } from '../platform/paths.ts';
import { parseDaemonFlags } from './daemon-flags.ts';
import { readConfig } from './read-config.ts';
import { runDaemon } from './run-daemon.ts';

const flags = parseDaemonFlags(process.argv.slice(2));
const config = parseConfig(readConfig(flags.config), flags);
const log = makeLogger({ service: 'daemon', level: config.logLevel });
const ended = Promise.withResolvers<'leave' | 'rest'>();
process.on('SIGTERM', () => ended.resolve('leave'));
process.on('SIGINT', () => ended.resolve('rest'));
try {
	const paths = resolvePaths({ uid: process.getuid?.() ?? 0, env: {}, ...flags });
	await runDaemon({ paths, config, databaseUrl: process.env['MVM_DATABASE_URL'], log }, ended.promise);
	process.exit(0);
} catch (err) {
	log.fatal({ err }, 'daemon failed');
	process.exit(1);
}
