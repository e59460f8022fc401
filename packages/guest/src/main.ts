// The guest agent's process: supervisor of the workload and the only thing in an instance that the host talks to. Bundled to one
// file. SIGTERM ends the workload politely and then the agent, with code 0.
import { writeSync } from 'node:fs';
import { startAgent } from './agent.ts';
import { readIdentity } from './identity.ts';
import { makeOpenclawAdapter } from './openclaw/adapter.ts';
import { readOptions } from './options.ts';
import { makePlainAdapter } from './plain-adapter.ts';

async function main(): Promise<void> {
	const options = readOptions(process.argv.slice(2), process.env);
	const agent = await startAgent({
		paths: options.paths,
		identity: readIdentity(options.bootFd),
		env: process.env,
		adapters: { none: makePlainAdapter, openclaw: (context) => makeOpenclawAdapter(context) },
		// Straight to the descriptor: a stream that failed once, on a full disk, would never write again.
		write: (text) => void writeSync(1, text),
	});
	process.on('uncaughtException', (error) => {
		// One bad stream must not take the instance down; the workload may be in the middle of a turn.
		agent.console.log('error', 'unexpected error', { why: error.stack ?? error.message });
	});
	let isStopping = false;
	const stop = (signal: string): void => {
		if (isStopping) return;
		isStopping = true;
		agent.console.log('info', 'stopping', { signal });
		void agent.stop().then(() => process.exit(0));
	};
	for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop(signal));
}

main().catch((error: unknown) => {
	process.stderr.write(`mvm guest agent: ${error instanceof Error ? error.message : String(error)}\n`);
	process.exit(1);
});
