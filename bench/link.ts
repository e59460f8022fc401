// The link: one Ping (a stream opened, one frame there, one back) to a real guest agent, beside a bare echo over a Unix socket between
// two processes. The agent runs as a plain process here: the link is the same, and nothing sleeps.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGuest } from '../test/support/guest-process.ts';
import { type Bench, rounds } from './bench.ts';
import { percentile, series } from './report.ts';

const ROUNDS = 4_000;
const WARM_UP = 500;
const ECHO = `require('node:net').createServer((s) => s.pipe(s)).listen(process.argv[1], () => console.log('up'))`;

export async function measureLink(bench: Pick<Bench, 'haste' | 'say' | 'found'>): Promise<void> {
	const times = rounds(bench as Bench, ROUNDS);
	bench.say(`link: ${times} pings`);
	const pings: number[] = [];
	{
		await using guest = await startGuest();
		for (let at = 0; at < times + WARM_UP; at += 1) {
			const began = performance.now();
			const answer = await guest.ask({ kind: 'Ping' });
			if (answer.kind !== 'Pong') throw new Error(`the agent answered ${answer.kind}`);
			if (at >= WARM_UP) pings.push(performance.now() - began);
		}
	}
	bench.found(series('link', 'Ping', pings, { p99: percentile(pings, 0.99) }));
	const echoes = await echo(times);
	bench.found(series('link', 'peer: echo over a Unix socket', echoes, { p99: percentile(echoes, 0.99) }));
	bench.found({
		section: 'link',
		what: 'Ping against that echo',
		unit: 'x',
		value: percentile(pings, 0.5) / percentile(echoes, 0.5),
	});
}

async function echo(times: number): Promise<number[]> {
	const dir = mkdtempSync(join(tmpdir(), 'mvm-bench-echo-'));
	const path = join(dir, 'echo.sock');
	const child = spawn(process.execPath, ['-e', ECHO, path], { stdio: ['ignore', 'pipe', 'inherit'] });
	try {
		await once(child.stdout, 'data');
		const socket = connect(path);
		const samples: number[] = [];
		for (let at = 0; at < times + WARM_UP; at += 1) {
			const began = performance.now();
			socket.write('{"Ping":null}');
			await once(socket, 'data');
			if (at >= WARM_UP) samples.push(performance.now() - began);
		}
		socket.destroy();
		return samples;
	} finally {
		child.kill('SIGKILL');
		rmSync(dir, { recursive: true, force: true });
	}
}
