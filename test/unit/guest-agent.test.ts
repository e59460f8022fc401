// The guest agent as a real process behind a real link: requests, integrations, rest, workload and streams, without root.
import { once } from 'node:events';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createTcp } from 'node:net';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { expect, test, vi } from 'vitest';
import type { DialHandler } from '../../packages/mvm/src/ports/link.ts';
import { eventually, readText, startGuest, withinMs } from '../support/guest-process.ts';

vi.setConfig({ testTimeout: 30_000, maxConcurrency: 4 });
const NODE = process.execPath;

async function freePort(): Promise<number> {
	const server = createTcp().listen(0, '127.0.0.1');
	await once(server, 'listening');
	const { port } = server.address() as AddressInfo;
	await new Promise((done) => server.close(done));
	return port;
}
const httpWorkload = (port: number, more = ''): string[] => [
	NODE,
	'-e',
	`require('http').createServer((q,s)=>q.pipe(s)).listen(${port},'127.0.0.1');console.log('hello from the workload');${more}`,
];
const isAlive = (pid: number): boolean => {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
};

test.concurrent('thousands of short streams in a row do not end the link', async () => {
	await using guest = await startGuest();
	for (let at = 0; at < 2_000; at += 1) expect(await guest.ask({ kind: 'Ping' })).toEqual({ kind: 'Pong' });
	expect(guest.output().match(/link stream connected/g)).toHaveLength(2);
});

test.concurrent('answers Ping, unknown requests, garbage and oversize frames, each on its own stream, while a silent one stays open', async () => {
	await using guest = await startGuest();
	const silent = await guest.link.dial(52, withinMs(2000));
	expect(await guest.ask({ kind: 'Ping' })).toEqual({ kind: 'Pong' });
	const frame = (json: string): Buffer => {
		const body = Buffer.from(json);
		const head = Buffer.alloc(4);
		head.writeUInt32BE(body.length);
		return Buffer.concat([head, body]);
	};
	expect(await guest.askRaw(frame('{"Explode":{}}'))).toEqual({ kind: 'Error', message: 'unknown request Explode' });
	expect(await guest.askRaw(frame('not json'))).toMatchObject({ kind: 'Error' });
	expect(await guest.askRaw(Buffer.from([0x7f, 0, 0, 0]))).toMatchObject({ kind: 'Error' });
	expect(await guest.askRaw(frame('{"Forward":{"port":80}}'))).toEqual({ kind: 'Error', message: 'port 80 is privileged' });
	const many = await Promise.all(Array.from({ length: 100 }, () => guest.ask({ kind: 'Ping' })));
	expect(many.every(({ kind }) => kind === 'Pong')).toBe(true);
	silent.destroy();
	expect(await guest.ask({ kind: 'WorkerStatus' })).toEqual({ kind: 'WorkerStatus', status: 'idle', lastBusyAt: null });
	expect((await stat(join(guest.run, 'api.sock'))).mode & 0o777).toBe(0o666);
});

test.concurrent('starts the workload, reports it ready, forwards bytes to it and stops it politely on SIGTERM', async () => {
	const port = await freePort();
	const command = httpWorkload(port, `process.on('SIGTERM',()=>{console.log('bye');process.exit(0)});`);
	const guest = await startGuest({
		config: { workload: { command, ready: { port, timeout_secs: 10 }, env: { GREETING: 'x' } } },
	});
	try {
		const status = await eventually(async () => {
			const answer = await guest.ask({ kind: 'SupervisorStatus' });
			return answer.kind === 'SupervisorStatus' && answer.workload.state === 'ready' && answer;
		});
		expect(status.workload.readyMs).toBeGreaterThan(0);
		expect(status.workload.lastLogLines).toContain('hello from the workload');
		const stream = await guest.forward(port);
		expect(await guest.ask({ kind: 'WorkerStatus' })).toMatchObject({ status: 'busy' });
		stream.end('POST / HTTP/1.0\r\ncontent-length: 4\r\n\r\nbody');
		expect(await text(stream)).toMatch(/200 OK[\s\S]*body$/);
		// Its reader got everything and never ended its own half.
		const forgotten = await guest.forward(port);
		forgotten.write('GET / HTTP/1.0\r\n\r\n');
		await text(forgotten);
		await eventually(async () => {
			const answer = await guest.ask({ kind: 'WorkerStatus' });
			return answer.kind === 'WorkerStatus' && answer.status === 'idle';
		});
		guest.child.kill('SIGTERM');
		const [code] = await once(guest.child, 'exit');
		expect(code).toBe(0);
		expect(guest.output()).toContain('workload| bye');
		expect(isAlive(status.workload.pid ?? 0)).toBe(false);
	} finally {
		await guest[Symbol.asyncDispose]();
	}
});

test.concurrent('a workload that keeps ending is started again with back-off and then reported as a crash loop, with its last words', async () => {
	await using guest = await startGuest({ config: { workload: { command: ['/bin/sh', '-c', 'echo no config >&2; exit 78'] } } });
	const status = await eventually(async () => {
		const answer = await guest.ask({ kind: 'SupervisorStatus' });
		return answer.kind === 'SupervisorStatus' && answer.workload.state === 'crash_loop' && answer;
	}, 9000);
	expect(status.workload).toMatchObject({ lastExit: { code: 78, signal: null }, restarts: 4, pid: null });
	expect(status.workload.lastLogLines).toContain('no config');
}, 15_000);

test.concurrent('a program that does not exist is a crash loop in the end and never takes the agent down', async () => {
	await using guest = await startGuest({ config: { workload: { command: ['/no/such/program'] } } });
	await eventually(async () => {
		const answer = await guest.ask({ kind: 'SupervisorStatus' });
		return answer.kind === 'SupervisorStatus' && answer.workload.lastLogLines.some((line) => line.includes('ENOENT'));
	});
	expect(await guest.ask({ kind: 'Ping' })).toEqual({ kind: 'Pong' });
});

test.concurrent('drop-ins are read in order, bad ones skipped, the configuration wins; directories, restore and status follow', async () => {
	await using guest = await startGuest({
		dropins: {
			'20-b.json': '{"name":"beta","critical":true}',
			'10-a.json': '{"name":"alpha","restore_cmd":"touch \\"$MVM_DATA_DIR/alpha-$MVM_RESTORE_REASON\\""}',
			'30-bad.json': '{"name":"../../etc","checkpoint_cmd":"true"}',
			'40-broken.json': 'no json',
			'50-twice.json': '{"name":"alpha"}',
			'readme.txt': 'ignored',
		},
		config: { integrations: [{ name: 'beta', restore_cmd: 'echo broken state >&2; exit 3' }] },
	});
	const reports = await eventually(async () => {
		const answer = await guest.ask({ kind: 'IntegrationStatus' });
		return (
			answer.kind === 'IntegrationStatusReport' && answer.integrations.every((r) => r.status !== 'pending') && answer.integrations
		);
	});
	expect(reports.map(({ name, status }) => [name, status])).toEqual([
		['alpha', 'active'],
		['beta', { error: 'restore failed: broken state' }],
	]);
	expect(await readText(join(guest.data, 'alpha-boot'))).toBe('');
	expect((await stat(join(guest.data, 'integrations/beta/state'))).isDirectory()).toBe(true);
	for (const word of ['30-bad.json', '40-broken.json', 'declared before']) expect(guest.output()).toContain(word);
});

test.concurrent('checkpoints report real exit codes, write marker files and sizes, and end hung commands with their whole group', async () => {
	await using guest = await startGuest({
		config: {
			min_runtime_policy: { drain_timeout_seconds: 1 },
			integrations: [
				{ name: 'good', critical: true, checkpoint_cmd: 'printf 0123456789 > "$MVM_DATA_DIR/integrations/good/state/file"' },
				{ name: 'plain', critical: true },
				{ name: 'bad', checkpoint_cmd: 'true; echo disk on fire >&2; exit 5' },
				{ name: 'odd', checkpoint_cmd: 'a\0b' },
			],
		},
	});
	await guest.ask({ kind: 'Wake' });
	const result = await guest.ask({ kind: 'CheckpointIntegrations', integrations: [] });
	expect(result).toEqual({
		kind: 'CheckpointResult',
		success: false,
		failed: ['bad', 'odd'],
		detail: expect.stringMatching(/^bad: disk on fire; odd: failed to execute: /),
	});
	expect(await guest.ask({ kind: 'CheckpointIntegrations', integrations: ['good', 'nobody'] })).toMatchObject({
		failed: ['nobody'],
		detail: 'nobody: no such integration',
	});
	const answer = await guest.ask({ kind: 'IntegrationStatus' });
	if (answer.kind !== 'IntegrationStatusReport') throw new Error('no report');
	const [good, plain, bad] = answer.integrations;
	expect(good?.stateSizeBytes).toBeGreaterThanOrEqual(10);
	expect(good?.lastCheckpointAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
	expect((await readText(join(guest.data, 'integrations/good/checkpoint')))?.trim()).toBe(good?.lastCheckpointAt);
	expect(plain?.lastCheckpointAt).not.toBeNull();
	expect(bad?.lastCheckpointAt).toBeNull();
});

test.concurrent('a checkpoint whose caller hangs up is killed with its group', async () => {
	await using guest = await startGuest({
		config: { integrations: [{ name: 'slow', checkpoint_cmd: 'sleep 300 & echo $! > "$MVM_DATA_DIR/pid"; sleep 300' }] },
	});
	await guest.ask({ kind: 'Wake' });
	const lost = guest.ask({ kind: 'CheckpointIntegrations', integrations: ['slow'] }, 20_000).catch(() => 'lost');
	const pid = Number(await eventually(() => readText(join(guest.data, 'pid'))));
	expect(pid).toBeGreaterThan(0);
	await guest.reopen({ incarnation: 1, token: 'first-token' });
	expect(await lost).toBe('lost');
	await eventually(() => !isAlive(pid));
});

test.concurrent('a hung health check is unhealthy within its timeout, its whole group is gone, and others are not held up', async () => {
	await using guest = await startGuest({
		config: {
			integrations: [
				{
					name: 'hung',
					health_cmd: 'sleep 300 & echo $! > "$MVM_DATA_DIR/pid"; wait',
					health_timeout_secs: 1,
					health_interval_secs: 60,
				},
				{ name: 'fine', health_cmd: 'head -c 200000 /dev/zero; exit 0', health_interval_secs: 1 },
				{ name: 'sick', health_cmd: 'echo cannot connect >&2; exit 1', health_interval_secs: 1 },
			],
		},
	});
	const byName = async () => {
		const answer = await guest.ask({ kind: 'IntegrationStatus' });
		if (answer.kind !== 'IntegrationStatusReport') throw new Error('no report');
		return Object.fromEntries(answer.integrations.map((report) => [report.name, report]));
	};
	await eventually(async () => (await byName())['fine']?.status === 'active' && (await byName())['sick']?.health !== null);
	const before = await byName();
	expect(before['sick']?.status).toEqual({ error: 'cannot connect' });
	expect(before['fine']?.health).toMatchObject({ healthy: true, detail: 'ok' });
	expect(before['hung']?.status).toBe('pending');
	const pid = Number(await readText(join(guest.data, 'pid')));
	await eventually(async () => (await byName())['hung']?.health?.healthy === false, 4000);
	expect((await byName())['hung']?.health?.detail).toMatch(/^timed out/);
	await eventually(() => !isAlive(pid));
});

test.concurrent('SleepPrep waits for what is in flight, refuses within its budget, holds forwards, and Wake lets go and restores', async () => {
	const port = await freePort();
	await using guest = await startGuest({
		config: {
			workload: { command: httpWorkload(port), ready: { port } },
			integrations: [{ name: 'a', restore_cmd: 'echo "$MVM_RESTORE_REASON" >> "$MVM_DATA_DIR/restores"' }],
		},
	});
	await eventually(async () => {
		const answer = await guest.ask({ kind: 'SupervisorStatus' });
		return answer.kind === 'SupervisorStatus' && answer.workload.state === 'ready';
	});
	const stream = await guest.forward(port);
	const startedAt = performance.now();
	const refused = await guest.ask({ kind: 'SleepPrep', drainTimeoutSecs: 1 });
	expect(refused).toEqual({ kind: 'SleepPrepAck', success: false, detail: 'still busy: forwards:1' });
	expect(performance.now() - startedAt).toBeLessThan(5000);
	const prepared = guest.ask({ kind: 'SleepPrep', drainTimeoutSecs: 10 });
	setTimeout(() => stream.destroy(), 100);
	expect(await prepared).toEqual({ kind: 'SleepPrepAck', success: true, detail: null });
	await expect(guest.forward(port)).rejects.toThrow('the instance is at rest');
	expect(await guest.ask({ kind: 'SleepPrep', drainTimeoutSecs: 10 })).toMatchObject({ success: true });
	expect(await guest.ask({ kind: 'Wake' })).toEqual({ kind: 'WakeAck', success: true });
	const late = await guest.forward(port);
	const calledOff = guest.ask({ kind: 'SleepPrep', drainTimeoutSecs: 30 }, 20_000);
	const joined = guest.ask({ kind: 'SleepPrep', drainTimeoutSecs: 30 }, 20_000);
	await expect(eventually(() => guest.forward(port).then((stream) => void stream.destroy()))).rejects.toThrow('at rest');
	expect(await guest.ask({ kind: 'Wake' })).toEqual({ kind: 'WakeAck', success: true });
	expect([await calledOff, await joined]).toMatchObject([{ detail: 'called off' }, { detail: 'called off' }]);
	late.destroy();
	await eventually(async () => (await readText(join(guest.data, 'restores'))) === 'boot\nwake\n');
});

test.concurrent('a critical restore that fails keeps the workload down and Wake unsuccessful until it passes', async () => {
	const port = await freePort();
	await using guest = await startGuest({
		config: {
			workload: { command: httpWorkload(port), ready: { port } },
			integrations: [{ name: 'a', critical: true, restore_cmd: 'test -e "$MVM_DATA_DIR/ok"' }],
		},
	});
	expect(await guest.ask({ kind: 'Wake' })).toEqual({ kind: 'WakeAck', success: false });
	const status = await guest.ask({ kind: 'SupervisorStatus' });
	expect(status).toMatchObject({ workload: { pid: null } });
	await writeFile(join(guest.data, 'ok'), '');
	expect(await guest.ask({ kind: 'Wake' })).toEqual({ kind: 'WakeAck', success: true });
	await eventually(async () => {
		const answer = await guest.ask({ kind: 'SupervisorStatus' });
		return answer.kind === 'SupervisorStatus' && answer.workload.state === 'ready';
	});
});

test.concurrent('PostRestore gives a new identity that later connections present, and the host time; an older one is refused', async () => {
	await using guest = await startGuest({
		config: {
			integrations: [{ name: 'a', restore_cmd: 'echo "$MVM_RESTORE_REASON $MVM_CLOCK_OFFSET_MS" >> "$MVM_DATA_DIR/restores"' }],
		},
	});
	await guest.ask({ kind: 'Wake' });
	const two = { incarnation: 2, token: 'second-token' };
	guest.link.expect(two);
	expect(guest.link.state).toBe('stale');
	const later = Date.now() + 3_600_000;
	const message = { kind: 'PostRestore', ...two, nowMs: later, secretsEpoch: 4, reseed: 'c2VlZA' } as const;
	expect(await guest.ask(message)).toEqual({ kind: 'PostRestoreAck', success: true, detail: null });
	guest.link.acknowledged();
	expect(await guest.ask({ kind: 'Wake' })).toEqual({ kind: 'WakeAck', success: true });
	const restores = await eventually(async () => (await readText(join(guest.data, 'restores')))?.match(/^.*\n.*\n$/)?.[0]);
	const [boot, wake] = restores.split('\n');
	expect(boot).toBe('boot ');
	expect(wake).toMatch(/^wake 3(59|60)\d{4}$/);
	expect(await guest.ask({ ...message, incarnation: 1 })).toMatchObject({ success: false, detail: 'incarnation 1 is before 2' });
	await guest.reopen(two);
	await guest.link.until(['up'], withinMs(3000));
	expect(await guest.ask({ kind: 'SupervisorStatus' })).toMatchObject({ incarnation: 2 });
});

test.concurrent('the instance API socket and endpoints reach the host, each saying which it is', async () => {
	const port = await freePort();
	const server = createServer((_request, response) => response.end('from the host'));
	const seen: unknown[] = [];
	const handlers = new Map<number, DialHandler>([
		[
			54,
			(stream, from) => {
				seen.push(from.endpoint ?? 'api');
				server.emit('connection', stream);
			},
		],
	]);
	await using guest = await startGuest({ handlers, config: { endpoints: [{ name: 'model', guest_port: port }] } });
	const get = async (socket: ReturnType<typeof connect>): Promise<string> => {
		socket.write('GET / HTTP/1.0\r\n\r\n');
		return String(await buffer(socket));
	};
	expect(await get(connect(join(guest.run, 'api.sock')))).toContain('from the host');
	expect(await get(connect(port, '127.0.0.1'))).toContain('from the host');
	expect(seen).toEqual(['api', 'model']);
	await expect(guest.forward(port)).rejects.toThrow("agent's own");
	server.removeAllListeners('request');
	const asked = Promise.withResolvers<ServerResponse>();
	server.on('request', (_request, response) => asked.resolve(response));
	const waiting = get(connect(port, '127.0.0.1'));
	const answer = await asked.promise;
	expect(await guest.ask({ kind: 'SupervisorStatus' })).toMatchObject({ busyReasons: ['endpoint:model'] });
	expect(await guest.ask({ kind: 'SleepPrep', drainTimeoutSecs: 0 })).toMatchObject({ success: false });
	answer.end('late');
	expect(await waiting).toContain('late');
	expect(await guest.ask({ kind: 'SleepPrep', drainTimeoutSecs: 2 })).toMatchObject({ success: true });
});

test.concurrent('an agent whose console is gone stays calm and goes on', async () => {
	await using guest = await startGuest({ config: { workload: { command: ['/bin/sh', '-c', 'while :; do echo line; done'] } } });
	guest.child.stdout?.destroy();
	await new Promise((done) => setTimeout(done, 300));
	expect(await guest.ask({ kind: 'Ping' })).toEqual({ kind: 'Pong' });
});

test.concurrent('after kill -9 a new agent takes over its sockets, and a new daemon finds it again', async () => {
	await using guest = await startGuest();
	guest.child.kill('SIGKILL');
	await once(guest.child, 'exit');
	await guest.link.until(['down'], withinMs(2000));
	const two = { incarnation: 2, token: 'second' };
	guest.link.expect(two);
	await guest.restart(two);
	expect(await guest.ask({ kind: 'Ping' })).toEqual({ kind: 'Pong' });
	await guest.reopen(two);
	await guest.link.until(['up'], withinMs(3000));
	expect(await guest.ask({ kind: 'Ping' })).toEqual({ kind: 'Pong' });
});

test.concurrent('a workload that floods its console is cut, not the agent', async () => {
	const flood = 'head -c 3000000 /dev/zero | tr "\\\\0" x | fold -w 99; sleep 300';
	await using guest = await startGuest({ config: { workload: { command: ['/bin/sh', '-c', flood], stop_timeout_secs: 1 } } });
	await mkdir(join(guest.dir, 'unused'));
	await eventually(() => guest.output().includes('workload| xxxx'));
	await new Promise((done) => setTimeout(done, 1200));
	expect(guest.output().length).toBeLessThan(1_500_000);
	expect(await guest.ask({ kind: 'Ping' })).toEqual({ kind: 'Pong' });
});
