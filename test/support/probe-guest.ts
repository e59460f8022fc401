// The smallest guest: dials the link socket, says which life it is, and then does what the contract suite asks, one JSON
// line each way. Runs inside a sandbox, so it imports nothing but Node. Stands in for the agent where only the host is tested.
import { spawn } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';

interface Ask {
	readonly id: number;
	/** Inner uid; absent: as the supervisor itself. */
	readonly uid?: number;
	readonly argv?: readonly string[];
	readonly exit?: number;
	readonly echo?: string;
	readonly ignoreTerm?: boolean;
	/** Printed to the console. */
	readonly log?: string;
}

const boot: unknown = JSON.parse(readFileSync(3, 'utf8'));
closeSync(3);
let ignoreTerm = false;
process.on('SIGTERM', () => {
	if (!ignoreTerm) process.exit(0);
});

function dial(): void {
	const socket = connect('/run/mvm/link/to-guest.sock');
	let pending = '';
	socket.on('connect', () => socket.write(`${JSON.stringify({ hello: boot })}\n`));
	socket.on('data', (chunk) => {
		const lines = (pending + chunk.toString()).split('\n');
		pending = lines.pop() ?? '';
		for (const line of lines) void answer(JSON.parse(line) as Ask).then((reply) => socket.write(`${JSON.stringify(reply)}\n`));
	});
	socket.on('error', () => {});
	socket.on('close', () => setTimeout(dial, 20));
}

async function answer(ask: Ask): Promise<unknown> {
	if (ask.exit !== undefined) process.exit(ask.exit);
	if (ask.ignoreTerm !== undefined) ignoreTerm = ask.ignoreTerm;
	if (ask.log !== undefined) process.stdout.write(`${ask.log}\n`);
	if (ask.argv === undefined) return { id: ask.id, echo: ask.echo };
	const [command, ...args] = ask.argv;
	const ids = ask.uid === undefined || process.getuid?.() !== 0 ? {} : { uid: ask.uid, gid: ask.uid };
	const child = spawn(command ?? 'false', args, { ...ids, stdio: ['ignore', 'pipe', 'pipe'] });
	let out = '';
	let err = '';
	child.stdout.on('data', (chunk) => {
		out += chunk;
	});
	child.stderr.on('data', (chunk) => {
		err += chunk;
	});
	const code = await new Promise<number | string>((done) => {
		child.on('error', (error) => done(error.message));
		child.on('close', (exit, signal) => done(exit ?? signal ?? 1));
	});
	return { id: ask.id, code, out, err };
}

dial();
setInterval(() => {}, 60_000);
