// Runs the supervisor of a test platform as a process of its own: `node platform-up.ts <data> <run>`. Started by platform.ts only.
import { up } from '../../packages/mvm/src/main/up.ts';

const [dataDir = '', runDir = ''] = process.argv.slice(2);
try {
	await up({ dataDir, runDir, say: (line) => process.stdout.write(`${line}\n`) });
	process.exit(0);
} catch (error) {
	process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
	process.exit(1);
}
