// Runs one host tool (mount, mkfs.ext4, …) to its end with an argument array and a clean environment. Never a shell.
import { spawn } from 'node:child_process';
import { MvmError } from '@mvm/protocol';

const OUTPUT_LIMIT = 16 * 1024;
export const TOOL_ENV = { PATH: '/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin', LC_ALL: 'C' };

/** Resolves with stdout when the exit code is 0 or one of `ok`; throws HOST_UNSUPPORTED with the tool's last words when it fails or is not there. */
export async function runTool(
	argv: readonly [string, ...string[]],
	options: { readonly signal: AbortSignal; readonly ok?: readonly number[] },
): Promise<string> {
	const [command, ...args] = argv;
	const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: TOOL_ENV, signal: options.signal });
	let out = '';
	let err = '';
	child.stdout.on('data', (chunk: Buffer) => {
		out = (out + chunk.toString()).slice(-OUTPUT_LIMIT);
	});
	child.stderr.on('data', (chunk: Buffer) => {
		err = (err + chunk.toString()).slice(-OUTPUT_LIMIT);
	});
	const code = await new Promise<number | string>((resolve, reject) => {
		child.on('error', (error) => (options.signal.aborted ? reject(options.signal.reason) : resolve(error.message)));
		child.on('close', (exit, signal) => resolve(exit ?? signal ?? 1));
	});
	if (code === 0 || (typeof code === 'number' && options.ok?.includes(code))) return out;
	throw new MvmError('HOST_UNSUPPORTED', `${command} failed: ${err.trim() || code}`, {
		details: { command, args, result: code, stderr: err.trim() },
	});
}
