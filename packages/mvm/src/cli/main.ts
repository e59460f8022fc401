#!/usr/bin/env node
// The entry of `mvm`: the real world for program.ts. Everything it does is there.
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

// Not the default below /tmp: whoever makes that folder first could plant code in it, for root too.
enableCompileCache(join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'mvm'));
const { runProgram } = await import('./program.ts');
const { COMMANDS } = await import('./all-commands.ts');
const { terminalIo } = await import('./io.ts');
const { resolvePaths } = await import('../platform/paths.ts');

const interrupted = new AbortController();
const isUp = process.argv[2] === 'up'; // it ends in order by itself
if (!isUp) {
	process.once('SIGINT', () => interrupted.abort());
	process.once('SIGTERM', () => interrupted.abort());
}
// A reader that has seen enough (`mvm events | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const paths = resolvePaths({ uid: process.getuid?.() ?? 0, env: process.env });
process.exitCode = await runProgram(COMMANDS, process.argv.slice(2), {
	io: terminalIo(process),
	env: process.env,
	signal: interrupted.signal,
	adminSocket: paths.adminSocket,
});
