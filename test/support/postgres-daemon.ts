// A stand-in for the daemon, run as a process of its own by the adoption test: starts the server in the given folder the
// way the daemon does (so that it survives), says its pid, and waits to be killed.
import { startEmbeddedPostgres } from '../../packages/mvm/src/drivers/postgres/embedded.ts';
import { testServerOptions } from './postgres-server.ts';

const folder = process.argv[2];
if (folder === undefined) throw new Error('usage: postgres-daemon.ts FOLDER');
const server = await startEmbeddedPostgres({ ...testServerOptions(folder), dieWithParent: false });
process.stdout.write(`${server.pid}\n`);
await new Promise(() => setInterval(() => {}, 60_000));
