// Real trees in real control groups, paged out to a real swap file that the test makes and removes.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMvmError } from '@mvm/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { pageOut } from './hibernate.ts';
import { readGroupUsage, readInstanceMemory } from './hibernate-memory.ts';
import { prefetch } from './hibernate-prefetch.ts';
import { makeSwap, type Swap } from './swap.ts';

const MIB = 2 ** 20;
const V1 = '/sys/fs/cgroup/memory/memory.limit_in_bytes';
const FREEZER = '/sys/fs/cgroup/freezer';
const why = process.getuid?.() !== 0 ? 'needs root' : !existsSync(V1) || !existsSync(FREEZER) ? 'needs cgroup v1 memory' : '';
if (why !== '') process.stderr.write(`hibernate.host.test.ts: ${why}\n`);
const signal = AbortSignal.timeout(120_000);

/** Holds 60 MiB of its own and answers on a Unix socket. */
const AGENT = `const held = Buffer.alloc(60 * 1024 * 1024, 7); let turns = 0;
require('node:http').createServer((_, res) => res.end(String(held[turns * 4096] + turns++))).listen(process.argv[1]);`;

describe.skipIf(why !== '')('a hibernated tree', () => {
	let root: string;
	let swap: Swap;
	let agent: ChildProcess;
	const name = `mvm-test-${process.pid}`;
	const parent = join('/sys/fs/cgroup/memory', name);
	const memory = join(parent, 'agent');
	const freezer = join(FREEZER, name);
	const group = { version: 1, path: memory } as const;
	let foreignSwap = false;

	beforeAll(async () => {
		root = await mkdtemp(join(tmpdir(), 'mvm-hibernate-'));
		swap = makeSwap({ dataDir: root, sizeMib: 256, switches: {} });
		foreignSwap = (await swap.ensure({ signal })).state === 'foreign';
		for (const path of [memory, freezer]) mkdirSync(path, { recursive: true });
		writeFileSync(join(memory, 'memory.swappiness'), '0');
		agent = spawn(
			'sh',
			[
				'-c',
				'for g in "$1" "$2"; do echo $$ > "$g/cgroup.procs"; done; exec "$3" -e "$4" "$5"',
				'sh',
				memory,
				freezer,
				process.execPath,
				AGENT,
				join(root, 'agent.sock'),
			],
			{
				stdio: 'inherit',
				env: { PATH: '/usr/bin:/bin' },
			},
		);
		await vi.waitUntil(() => existsSync(join(root, 'agent.sock')), { timeout: 20_000 });
	});
	afterAll(async () => {
		thaw();
		agent.kill('SIGKILL');
		await new Promise((done) => agent.once('close', done));
		for (const path of [freezer, memory, parent]) rmdirSync(path);
		await swap.release({ signal });
		expect(readFileSync('/proc/swaps', 'utf8')).not.toContain(root);
		await rm(root, { recursive: true });
	});
	afterEach(() => {
		thaw();
		if (existsSync(parent))
			for (const limit of ['memsw.limit_in_bytes', 'limit_in_bytes']) writeFileSync(join(parent, `memory.${limit}`), '-1');
	});

	const freeze = async (): Promise<void> => {
		writeFileSync(join(freezer, 'freezer.state'), 'FROZEN');
		await expect.poll(() => readFileSync(join(freezer, 'freezer.state'), 'utf8')).toBe('FROZEN\n');
	};
	const thaw = (): void => {
		if (existsSync(freezer)) writeFileSync(join(freezer, 'freezer.state'), 'THAWED');
	};
	const pids = (): number[] => readFileSync(join(memory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
	const ask = (): Promise<string> =>
		new Promise((done, fail) => {
			request({ socketPath: join(root, 'agent.sock') }, (res) => {
				let text = '';
				res.on('data', (chunk) => (text += chunk)).on('end', () => done(text));
			})
				.on('error', fail)
				.end();
		});

	it('is on disk, answers after the thaw, and went on counting', async () => {
		expect(await ask()).toBe('7');
		await freeze();
		const result = await pageOut(group, { signal });
		expect(result.chargedBeforeBytes).toBeGreaterThan(60 * MIB);
		expect(result.chargedAfterBytes).toBeLessThan(8 * MIB);
		expect(result.swapBytes).toBeGreaterThan(60 * MIB);
		expect(readFileSync(join(memory, 'memory.swappiness'), 'utf8')).toBe('0\n');
		const asleep = await readInstanceMemory(group, pids());
		expect(asleep.swapBytes).toBeGreaterThan(60 * MIB);
		const started = performance.now();
		thaw();
		expect(await ask()).toBe('8');
		const tookMs = performance.now() - started;
		process.stderr.write(
			`hibernate: ${Math.round(result.chargedBeforeBytes / MIB)} -> ${(result.chargedAfterBytes / MIB).toFixed(1)} MiB in ${result.rounds} rounds, first answer ${tookMs.toFixed(0)} ms\n`,
		);
	});

	it('is let go of between two rounds when traffic comes late, and answers', async () => {
		await freeze();
		const late = new AbortController();
		const run = pageOut(group, { signal: late.signal });
		late.abort(new Error('a message came'));
		await expect(run).rejects.toThrow('a message came');
		expect(readFileSync(join(memory, 'memory.swappiness'), 'utf8')).toBe('0\n');
		thaw();
		expect(Number(await ask())).toBeGreaterThan(7);
	});

	it('is read back by a prefetch while frozen', async () => {
		await freeze();
		const { chargedAfterBytes } = await pageOut(group, { signal });
		const { bytes } = await prefetch(pids(), { signal });
		expect(bytes).toBeGreaterThan(60 * MIB);
		expect((await readGroupUsage(group)).chargedBytes - chargedAfterBytes).toBeGreaterThan(60 * MIB);
		const aborted = AbortSignal.abort();
		expect(await prefetch(pids(), { signal: aborted })).toEqual({ bytes: 0 });
		expect(await prefetch([2 ** 22 - 1], { signal })).toEqual({ bytes: 0 });
	});

	it('stays resident and whole where a group above grants no swap', async () => {
		writeFileSync(join(parent, 'memory.limit_in_bytes'), String(512 * MIB));
		writeFileSync(join(parent, 'memory.memsw.limit_in_bytes'), String(512 * MIB));
		await freeze();
		const before = await readGroupUsage(group);
		const error = await pageOut(group, { signal }).catch((e: unknown) => e);
		expect(isMvmError(error, 'SNAPSHOT_UNAVAILABLE') && error.details['limited_by']).toContain(parent);
		expect((await readGroupUsage(group)).swapBytes).toBe(before.swapBytes);
		thaw();
		expect(Number(await ask())).toBeGreaterThan(7);
	});

	it('has its swap file found again by the next hostd, readable by root only', async () => {
		if (foreignSwap) return;
		const next = makeSwap({ dataDir: root, sizeMib: 256, switches: {} });
		const status = await next.ensure({ signal });
		expect(status.state).toBe('managed');
		expect(await readdir(join(root, 'swap'))).toEqual(['hibernate.swap']);
		expect((await stat(join(root, 'swap/hibernate.swap'))).mode & 0o777).toBe(0o600);
	});

	it('lives on without swap when the file cannot be made', async () => {
		if (foreignSwap) return;
		await swap.release({ signal });
		const huge = makeSwap({ dataDir: root, sizeMib: 2 ** 30, switches: {} });
		const status = await huge.ensure({ signal });
		expect(status).toMatchObject({ state: 'none', conditions: [{ type: 'SwapAvailable', reason: 'SwapFileRefused' }] });
		expect(await readdir(join(root, 'swap'))).toEqual([]);
		await freeze();
		await expect(pageOut(group, { signal })).rejects.toMatchObject({ code: 'SNAPSHOT_UNAVAILABLE' });
	});
});
