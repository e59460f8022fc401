// A lock between processes that the kernel drops with its holder: flock(1) held by a child that ends when we do.
// Called by the image store so that one recipe is built once at a time on a host.
import { spawn } from 'node:child_process';
import { MvmError } from '@mvm/protocol';
import { TOOL_ENV } from '../process/run-tool.ts';

const BUSY = 75;

/** Waits for the lock file (made when missing); `wait: false` gives undefined at once when somebody else has it. */
export async function holdFileLock(
	path: string,
	options: { readonly signal: AbortSignal; readonly wait?: boolean },
): Promise<AsyncDisposable | undefined> {
	const mode = options.wait === false ? ['--nonblock', '--conflict-exit-code', String(BUSY)] : [];
	// `cat` answers our line once the lock is held, and ends with the pipe: when this process dies, so does the lock.
	const child = spawn('flock', ['--exclusive', ...mode, path, 'cat'], { stdio: ['pipe', 'pipe', 'ignore'], env: TOOL_ENV });
	const ended = new Promise<number | null>((done) => child.once('close', done).once('error', () => done(null)));
	child.stdin.on('error', () => {}); // it ended first; `ended` says how
	child.stdin.write('held?\n');
	const abort = (): void => void child.kill('SIGKILL');
	options.signal.addEventListener('abort', abort, { once: true });
	try {
		const answer = await Promise.race([new Promise<'held'>((done) => child.stdout.once('data', () => done('held'))), ended]);
		if (answer === 'held') {
			return {
				async [Symbol.asyncDispose]() {
					child.stdin.end();
					await ended;
				},
			};
		}
		options.signal.throwIfAborted();
		if (answer === BUSY) return undefined;
		throw new MvmError('HOST_UNSUPPORTED', 'the lock of an image build could not be taken', { details: { path, exit: answer } });
	} finally {
		options.signal.removeEventListener('abort', abort);
	}
}
