// What every runtime driver must do, as tests. A driver's test file makes a harness and calls this; what a driver cannot do is
// a named skip with a reason, never a silent one. The guest is the probe of test/support, so only the host side is on trial.
import { existsSync, readdirSync } from 'node:fs';
import { GuestConfig, type InstanceId, isMvmError, parseInstanceId } from '@mvm/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ProbeAnswer, ProbeLink } from '../../../../test/support/probe-link.ts';
import type { Clock } from './clock.ts';
import type { BootInput, DataEntry, Observed, Prepared, Runtime } from './runtime.ts';

export interface RuntimeHarness extends AsyncDisposable {
	/** The driver now; another object after `restart`. */
	runtime(): Runtime;
	readonly image: string;
	readonly clock: Clock;
	/** Kills what runs the driver without warning and starts it again. */
	restart(): Promise<void>;
}

export type ContractPart = 'users' | 'limits' | 'disk limit' | 'memory snapshot';

export interface ContractOptions {
	readonly harness: () => Promise<RuntimeHarness>;
	/** Parts this driver or host cannot show, each with the reason. */
	readonly skips: Partial<Record<ContractPart, string>>;
}

const MIB = 1024 * 1024;
const DEADLINE_MS = 50_000;

/** Declares the suite. */
export function runtimeContract(name: string, options: ContractOptions): void {
	describe(`runtime contract: ${name}`, () => {
		let harness: RuntimeHarness;
		let next = 1;
		const made: InstanceId[] = [];
		const links: ProbeLink[] = [];
		const signal = (): AbortSignal => AbortSignal.timeout(DEADLINE_MS);
		const call = () => ({ signal: signal() });
		const newId = (): InstanceId => {
			const id = parseInstanceId(`i-${(next++).toString(16).padStart(8, '0')}`);
			made.push(id);
			return id;
		};
		const part = (which: ContractPart, title: string, run: () => Promise<void>): void => {
			const reason = options.skips[which];
			if (reason === undefined) it(title, run);
			else it.skip(`${title} (skipped: ${reason})`, run);
		};
		const prepare = (instanceId: InstanceId, dataDiskMib = 64): Promise<Prepared> =>
			harness.runtime().prepare({ instanceId, dataDiskMib }, call());
		const bootInput = (instanceId: InstanceId, change: Partial<BootInput> = {}): BootInput => ({
			instanceId,
			incarnation: 1,
			token: 'token-of-one-life',
			image: harness.image,
			vcpus: 1,
			memMib: 256,
			pidsMax: 64,
			config: GuestConfig.parse({ instance_id: instanceId, pool_id: 'pool', tenant_id: 'tenant', vcpus: 1, mem_mib: 256 }),
			...change,
		});
		const listen = async (prepared: Prepared): Promise<ProbeLink> => {
			const link = await ProbeLink.listen(prepared.linkDir);
			links.push(link);
			return link;
		};
		/** A booted instance whose guest has said hello. */
		const start = async (change: Partial<BootInput> = {}, dataDiskMib = 64) => {
			const id = newId();
			const prepared = await prepare(id, dataDiskMib);
			const link = await listen(prepared);
			const observed = await harness.runtime().boot(bootInput(id, change), call());
			const hello = await link.hello();
			return { id, prepared, link, observed, hello };
		};
		const inspect = async (id: InstanceId): Promise<Observed | undefined> => harness.runtime().inspect(id, call());
		const until = async (id: InstanceId, done: (observed: Observed | undefined) => boolean): Promise<Observed | undefined> => {
			const deadline = performance.now() + 10_000;
			for (;;) {
				const observed = await inspect(id);
				if (done(observed)) return observed;
				if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(observed)}`);
				await harness.clock.sleep(10, call());
			}
		};

		beforeAll(async () => {
			harness = await options.harness();
		});
		afterEach(async () => {
			for (const link of links.splice(0)) await link[Symbol.asyncDispose]();
			for (const id of made.splice(0)) await harness.runtime().destroy(id, call());
		});
		afterAll(async () => {
			await harness[Symbol.asyncDispose]();
		});

		describe('life', () => {
			it('prepares a place once, and says that its data is fresh until something used it', async () => {
				const id = newId();
				const first = await prepare(id);
				expect(first.dataFresh).toBe(true);
				expect(await prepare(id)).toEqual(first);
				expect(await inspect(id)).toMatchObject({ state: 'absent', incarnation: 0, slot: first.slot });
				await listen(first);
				await harness.runtime().boot(bootInput(id), call());
				expect((await prepare(id)).dataFresh).toBe(false);
			});

			it('boots, hands over which life this is, and shows the configuration', async () => {
				const { hello, link, observed, id } = await start();
				expect(observed).toMatchObject({ state: 'running', incarnation: 1, hibernated: false, image: harness.image });
				expect(observed.pid).toBeGreaterThan(1);
				expect(hello).toEqual({ incarnation: 1, token: 'token-of-one-life' });
				const config = await link.run(['cat', '/etc/mvm-config/config.json']);
				expect(JSON.parse(config.out ?? '')).toMatchObject({ instance_id: id, tenant_id: 'tenant' });
			});

			it('carries bytes over the link directory', async () => {
				const { link } = await start();
				const echo = 'x'.repeat(300_000);
				expect((await link.ask({ echo })).echo).toBe(echo);
			});

			it('refuses a second boot while anything of the instance lives', async () => {
				const { id } = await start();
				await expect(harness.runtime().boot(bootInput(id, { incarnation: 2 }), call())).rejects.toMatchObject({
					code: 'ALREADY_RUNNING',
				});
				expect(await inspect(id)).toMatchObject({ state: 'running', incarnation: 1 });
			});

			it('lets exactly one of many boots win', async () => {
				const id = newId();
				await listen(await prepare(id));
				const lives = [1, 2, 3, 4, 5].map((incarnation) => harness.runtime().boot(bootInput(id, { incarnation }), call()));
				const outcomes = await Promise.allSettled(lives);
				expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1);
				expect(await inspect(id)).toMatchObject({ state: 'running' });
			});

			it('leaves a boot whose caller went away whole or undone', async () => {
				const id = newId();
				const link = await listen(await prepare(id));
				const left = new AbortController();
				const boot = harness.runtime().boot(bootInput(id), { signal: left.signal });
				const settled = boot.then(
					() => 'finished',
					() => 'gave up',
				);
				await harness.clock.sleep(15, call());
				left.abort(new Error('gone'));
				await settled;
				// Whole or not at all: a driver may finish it or take it back, but nothing stays between.
				const observed = await until(id, (o) => o?.state === 'running' || o?.state === 'absent');
				if (observed?.state === 'running') expect(await link.hello()).toMatchObject({ incarnation: 1 });
				else await harness.runtime().boot(bootInput(id, { incarnation: 2 }), call());
			});

			it('refuses a life that is not newer, at boot and at thaw', async () => {
				const { id } = await start({ incarnation: 5 });
				await harness.runtime().freeze(id, call());
				await expect(harness.runtime().thaw({ instanceId: id, incarnation: 5 }, call())).rejects.toMatchObject({
					code: 'INCARNATION_STALE',
				});
				await harness.runtime().thaw({ instanceId: id, incarnation: 6 }, call());
				await harness.runtime().stop({ instanceId: id, graceMs: 0 }, call());
				for (const incarnation of [5, 6])
					await expect(harness.runtime().boot(bootInput(id, { incarnation }), call())).rejects.toMatchObject({
						code: 'INCARNATION_STALE',
					});
				expect(await harness.runtime().boot(bootInput(id, { incarnation: 7 }), call())).toMatchObject({
					state: 'running',
					incarnation: 7,
				});
			});

			it('freezes the whole tree, also repeatedly, and thaws it', async () => {
				const { id, link } = await start();
				void link.sh('while :; do echo x >> /data/ticks; done').catch(() => {});
				await until(id, (o) => (o?.tasks ?? 0) >= 3);
				expect(await harness.runtime().freeze(id, call())).toMatchObject({ state: 'frozen' });
				expect(await harness.runtime().freeze(id, call())).toMatchObject({ state: 'frozen' });
				const size = async () => (await walk(harness.runtime(), id)).entries.find((e) => e.path === 'ticks')?.bytes;
				const before = await size();
				await harness.clock.sleep(50, call());
				expect(await size()).toBe(before);
				const woken = await harness.runtime().thaw({ instanceId: id, incarnation: 2 }, call());
				expect(woken).toMatchObject({ state: 'running', incarnation: 2 });
				expect((await link.ask({ echo: 'awake' })).echo).toBe('awake');
				expect(await harness.runtime().thaw({ instanceId: id, incarnation: 2 }, call())).toMatchObject({ incarnation: 2 });
			});

			it('stops politely, and by force when that does not help', async () => {
				const polite = await start();
				const began = performance.now();
				expect(await harness.runtime().stop({ instanceId: polite.id, graceMs: 20_000 }, call())).toMatchObject({
					state: 'absent',
				});
				expect(performance.now() - began).toBeLessThan(10_000);
				const stubborn = await start();
				await stubborn.link.ask({ ignoreTerm: true });
				void stubborn.link.sh('setsid sleep 1000 & sleep 1000').catch(() => {});
				expect(await harness.runtime().stop({ instanceId: stubborn.id, graceMs: 100 }, call())).toMatchObject({
					state: 'absent',
				});
				expect(await harness.runtime().stop({ instanceId: stubborn.id, graceMs: 100 }, call())).toMatchObject({
					state: 'absent',
				});
			});

			it('kills a frozen tree as it stands', async () => {
				const { id, link } = await start();
				void link.sh('sleep 1000 & sleep 1000').catch(() => {});
				await harness.runtime().freeze(id, call());
				expect(await harness.runtime().stop({ instanceId: id, graceMs: 10_000 }, call())).toMatchObject({ state: 'absent' });
			});

			it('shows the exit code of a guest that ended by itself', async () => {
				const { id, link } = await start();
				void link.ask({ exit: 7 }).catch(() => {});
				expect(await until(id, (o) => o?.state === 'exited')).toMatchObject({ state: 'exited', exitCode: 7 });
				await harness.runtime().boot(bootInput(id, { incarnation: 2 }), call());
				expect(await link.hello()).toMatchObject({ incarnation: 2 });
			});

			it('outlives the host daemon and is adopted', async () => {
				const running = await start();
				const frozen = await start();
				await harness.runtime().freeze(frozen.id, call());
				await harness.restart();
				const adopted = await harness.runtime().adopt(call());
				const of = (id: InstanceId) => adopted.find((o) => o.instanceId === id);
				expect(of(running.id)).toMatchObject({ state: 'running', incarnation: 1, pid: running.observed.pid });
				expect(of(frozen.id)).toMatchObject({ state: 'frozen' });
				expect((await running.link.ask({ echo: 'still here' })).echo).toBe('still here');
				await expect(harness.runtime().boot(bootInput(running.id, { incarnation: 9 }), call())).rejects.toMatchObject({
					code: 'ALREADY_RUNNING',
				});
				await harness.runtime().thaw({ instanceId: frozen.id, incarnation: 2 }, call());
				expect((await frozen.link.ask({ echo: 'thawed' })).echo).toBe('thawed');
			});

			it('erases everything at the end, and of the unknown there is nothing to erase', async () => {
				const { id, prepared } = await start();
				await harness.runtime().destroy(id, call());
				expect(await inspect(id)).toBeUndefined();
				expect(existsSync(prepared.linkDir)).toBe(false);
				await harness.runtime().destroy(id, call());
				await expect(harness.runtime().freeze(id, call())).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
			});

			it('keeps the console log', async () => {
				const { id, link } = await start();
				await link.ask({ log: 'hello from inside' });
				expect(await harness.runtime().logs({ instanceId: id, tailBytes: 1000 }, call())).toContain('hello from inside');
			});
		});

		describe('walls', () => {
			it('gives the workload no capability, no new privileges and a filter', async () => {
				const { link } = await start();
				const status = (await link.run(['cat', '/proc/self/status'])).out ?? '';
				expect(status).toMatch(/^CapEff:\t0{16}$/m);
				expect(status).toMatch(/^CapPrm:\t0{16}$/m);
				expect(status).toMatch(/^NoNewPrivs:\t1$/m);
				expect(status).toMatch(/^Seccomp:\t2$/m);
				for (const script of [
					'unshare --user true',
					'unshare --mount true',
					'mount -t tmpfs x /tmp',
					'chroot / true',
					'mknod /data/device b 7 0',
				])
					expect(await link.sh(script), script).not.toMatchObject({ code: 0 });
			});

			it('shows nothing of the host but the read-only base', async () => {
				const { link } = await start();
				const root = ((await link.run(['ls', '/'])).out ?? '').trim().split('\n');
				const allowed = [
					'bin',
					'data',
					'dev',
					'etc',
					'lib',
					'lib32',
					'lib64',
					'libx32',
					'opt',
					'proc',
					'run',
					'sbin',
					'tmp',
					'usr',
				];
				expect(root.filter((entry) => !allowed.includes(entry))).toEqual([]);
				for (const path of ['/etc/shadow', '/root', '/home', '/var/lib', '/run/mvm/admin', '/proc/1/root/home'])
					expect(await link.run(['ls', path]), path).not.toMatchObject({ code: 0 });
				for (const path of ['/usr/x', '/etc/x', '/x', '/dev/x', '/opt/mvm/x', '/run/secrets/x', '/run/mvm/link/x'])
					expect(await link.sh(`echo x > ${path}`, 'supervisor'), path).not.toMatchObject({ code: 0 });
				const processes = ((await link.sh('ls -d /proc/[0-9]*')).out ?? '').trim().split('\n').length;
				expect(processes).toBeLessThan(8);
			});

			it('has no network but its own loopback', async () => {
				const { link } = await start();
				const interfaces = ((await link.run(['cat', '/proc/net/dev'])).out ?? '').match(/^\s*\w+(?=:)/gm)?.map((i) => i.trim());
				expect(interfaces).toEqual(['lo']);
				const dial = (host: string, port: number) =>
					link.run([
						'/opt/mvm/bin/node',
						'-e',
						`require('net').connect(${port},'${host}').on('connect',()=>process.exit(0)).on('error',e=>{console.log(e.code);process.exit(1)})`,
					]);
				expect((await dial('192.0.2.1', 80)).out).toContain('ENETUNREACH');
				expect((await dial('127.0.0.1', 9)).out).toContain('ECONNREFUSED');
			});

			it('inherits no descriptor of the host', async () => {
				const { link } = await start();
				const descriptors = ((await link.run(['ls', '/proc/self/fd'])).out ?? '').trim().split('\n');
				expect(descriptors).toEqual(['0', '1', '2', '3']);
			});

			part('users', 'keeps the supervisor from its workload, and one instance from another', async () => {
				const one = await start();
				const two = await start();
				expect((await one.link.run(['id', '-u'])).out?.trim()).toBe('1000');
				expect((await one.link.run(['id', '-u'], 'supervisor')).out?.trim()).toBe('0');
				for (const script of ['ls /run/mvm/link', 'cat /proc/2/environ', 'kill -9 2', 'echo x > /run/mvm/x'])
					expect(await one.link.sh(script), script).not.toMatchObject({ code: 0 });
				expect(await one.link.sh('echo x > /data/x', 2001)).not.toMatchObject({ code: 0 });
				expect(await one.link.sh('echo x > /data/x')).toMatchObject({ code: 0 });
				const uids = await Promise.all([one, two].map(({ link }) => link.run(['cat', '/proc/self/uid_map'], 'supervisor')));
				const bases = uids.map((answer) => Number(answer.out?.trim().split(/\s+/)[1]));
				expect(Math.abs((bases[0] ?? 0) - (bases[1] ?? 0))).toBeGreaterThanOrEqual(65_536);
			});

			it('delivers secrets as files, replaces them in place, and takes them away', async () => {
				const id = newId();
				const prepared = await prepare(id);
				const secret = (integration: string, key: string, value: string) => ({ integration, key, value });
				const write = (epoch: number, ...files: ReturnType<typeof secret>[]) =>
					harness.runtime().writeSecrets({ instanceId: id, epoch, files }, call());
				await write(1, secret('telegram', 'BOT_TOKEN', 'one'), secret('model', 'KEY', 'k'));
				const link = await listen(prepared);
				await harness.runtime().boot(bootInput(id), call());
				await link.hello();
				const read = async (path: string): Promise<ProbeAnswer> => link.run(['cat', `/run/secrets/${path}`]);
				expect((await read('telegram/BOT_TOKEN')).out).toBe('one');
				expect((await link.run(['stat', '-c', '%a', '/run/secrets/telegram/BOT_TOKEN'])).out?.trim()).toBe('400');
				await write(2, secret('telegram', 'BOT_TOKEN', 'two'));
				expect((await read('telegram/BOT_TOKEN')).out).toBe('two');
				expect(await read('model/KEY')).not.toMatchObject({ code: 0 });
				expect(await link.sh('echo x > /run/secrets/telegram/BOT_TOKEN')).not.toMatchObject({ code: 0 });
				expect(readdirSync(`${prepared.linkDir}`)).toEqual(['to-guest.sock']);
				await expect(write(3, secret('../x', 'KEY', 'v'))).rejects.toSatisfy((e) => isMvmError(e));
			});

			part('users', 'lets only the workload read a secret', async () => {
				const { id, link } = await start();
				const files = [{ integration: 'telegram', key: 'T', value: 'v' }];
				await harness.runtime().writeSecrets({ instanceId: id, epoch: 1, files }, call());
				expect((await link.run(['cat', '/run/secrets/telegram/T'])).out).toBe('v');
				expect(await link.run(['cat', '/run/secrets/telegram/T'], 2001)).not.toMatchObject({ code: 0 });
			});

			part('limits', 'counts an out-of-memory kill and lives on', async () => {
				const { id, link } = await start({ memMib: 96 });
				const hog = `const held=[];for(;;)held.push(Buffer.alloc(8*${MIB},1))`;
				expect(await link.run(['/opt/mvm/bin/node', '-e', hog])).not.toMatchObject({ code: 0 });
				expect((await link.ask({ echo: 'alive' })).echo).toBe('alive');
				expect((await inspect(id))?.oomKills).toBeGreaterThan(0);
			});

			part('limits', 'limits the number of tasks', async () => {
				const { id, link } = await start({ pidsMax: 32 });
				await link.sh('for i in $(seq 100); do sleep 5 > /dev/null 2>&1 & done; true');
				expect((await inspect(id))?.tasks).toBeLessThanOrEqual(32);
			});

			part('disk limit', 'grows the disk when the pool grows, with the data on it', async () => {
				const { id, link } = await start({}, 32);
				await link.sh('echo kept > /data/note');
				await prepare(id, 96);
				await harness.runtime().stop({ instanceId: id, graceMs: 5000 }, call());
				await prepare(id, 96);
				await harness.runtime().boot(bootInput(id, { incarnation: 2 }), call());
				await link.hello();
				expect(await link.sh('head -c 50000000 /dev/zero > /data/big && cat /data/note')).toMatchObject({
					code: 0,
					out: 'kept\n',
				});
			});

			part('disk limit', 'ends writing at the size of the disk', async () => {
				const { id, link } = await start({}, 32);
				expect(await link.sh('head -c 200000000 /dev/zero > /data/big')).not.toMatchObject({ code: 0 });
				expect((await inspect(id))?.dataBytes).toBeLessThanOrEqual(32 * MIB);
			});
		});

		describe('data', () => {
			it('survives a stop, and is not read while it may change', async () => {
				const { id, link } = await start();
				await link.sh('echo kept > /data/note');
				await expect(harness.runtime().checkpointData(id, call())).rejects.toMatchObject({ code: 'NOT_QUIESCENT' });
				await expect(harness.runtime().restoreData(id, none(), call())).rejects.toMatchObject({ code: 'NOT_QUIESCENT' });
				await harness.runtime().stop({ instanceId: id, graceMs: 5000 }, call());
				await harness.runtime().boot(bootInput(id, { incarnation: 2 }), call());
				await link.hello();
				expect((await link.run(['cat', '/data/note'])).out).toBe('kept\n');
			});

			it('reads and refuses what is planted, without following anything', async () => {
				const { id, link } = await start();
				await link.sh(
					'cd /data && echo real > file && ln -s /etc/shadow link && ln -s / root && mkfifo pipe && mkdir -p deep/er',
				);
				await link.run([
					'/opt/mvm/bin/node',
					'-e',
					"require('net').createServer().listen('/data/socket',()=>process.kill(process.pid,'SIGKILL'))",
				]);
				await harness.runtime().freeze(id, call());
				const { entries, refused } = await walk(harness.runtime(), id);
				expect(entries.map((e) => e.path).sort()).toEqual(['deep', 'deep/er', 'file', 'link', 'root']);
				expect(entries.find((e) => e.path === 'link')).toMatchObject({ kind: 'symlink', linkText: '/etc/shadow' });
				expect(entries.find((e) => e.path === 'file')).toMatchObject({ kind: 'file', bytes: 5, text: 'real\n' });
				expect([...refused].map((r) => r.path).sort()).toEqual(['pipe', 'socket']);
			});

			it('puts a walk back into another instance as it was', async () => {
				const from = await start();
				await from.link.sh(
					'cd /data && mkdir -m 750 d && head -c 3000000 /dev/urandom > d/big && chmod 640 d/big && ln -s d/big l && sha256sum d/big > sum',
				);
				await harness.runtime().stop({ instanceId: from.id, graceMs: 5000 }, call());
				const id = newId();
				const prepared = await prepare(id);
				const source = await harness.runtime().checkpointData(from.id, call());
				const result = await harness.runtime().restoreData(id, source.entries, call());
				expect(result.entries).toBe(4);
				expect(source.refused()).toEqual([]);
				expect((await prepare(id)).dataFresh).toBe(false);
				const link = await listen(prepared);
				await harness.runtime().boot(bootInput(id), call());
				await link.hello();
				expect(
					await link.sh(
						'cd /data && sha256sum -c sum && [ "$(stat -c %a d/big) $(stat -c %a d)" = "640 750" ] && cmp l d/big && echo x >> d/big',
					),
				).toMatchObject({ code: 0 });
			});

			it('leaves the old data alone when a restore breaks off', async () => {
				const { id, link } = await start();
				await link.sh('echo old > /data/note');
				await harness.runtime().stop({ instanceId: id, graceMs: 5000 }, call());
				await expect(harness.runtime().restoreData(id, breaksOff(), call())).rejects.toThrow();
				const { entries } = await walk(harness.runtime(), id);
				expect(entries.find((e) => e.path === 'note')).toMatchObject({ text: 'old\n' });
				expect(entries.map((e) => e.path)).not.toContain('half');
			});
		});

		describe('memory snapshot', () => {
			it('needs a frozen tree', async () => {
				const { id } = await start();
				await expect(harness.runtime().snapshot(id, call())).rejects.toSatisfy((e) => isMvmError(e));
			});

			part('memory snapshot', 'pages a frozen tree out, or says why not and changes nothing', async () => {
				const { id, link } = await start();
				await harness.runtime().freeze(id, call());
				try {
					const result = await harness.runtime().snapshot(id, call());
					expect(result.chargedAfterBytes).toBeLessThan(result.chargedBeforeBytes);
					expect(await inspect(id)).toMatchObject({ state: 'frozen', hibernated: true });
					await harness.restart();
					expect(await inspect(id)).toMatchObject({ state: 'frozen', hibernated: true });
					await harness.runtime().prefetch(id, call());
				} catch (error) {
					if (!isMvmError(error, 'SNAPSHOT_UNAVAILABLE')) throw error;
					expect(await inspect(id)).toMatchObject({ state: 'frozen', hibernated: false });
				}
				expect(await harness.runtime().thaw({ instanceId: id, incarnation: 2 }, call())).toMatchObject({
					state: 'running',
					hibernated: false,
				});
				expect((await link.ask({ echo: 'awake' })).echo).toBe('awake');
			});
		});
	});
}

type Walked = Omit<DataEntry, 'content'> & { readonly text?: string };

async function walk(runtime: Runtime, id: InstanceId) {
	const source = await runtime.checkpointData(id, { signal: AbortSignal.timeout(DEADLINE_MS) });
	const entries: Walked[] = [];
	for await (const { content, ...entry } of source.entries) {
		if (content === undefined) {
			entries.push(entry);
			continue;
		}
		const parts: Uint8Array[] = [];
		for await (const chunk of content) parts.push(chunk);
		entries.push({ ...entry, text: Buffer.concat(parts).toString() });
	}
	return { entries, refused: source.refused() };
}

async function* none(): AsyncGenerator<DataEntry> {}

async function* breaksOff(): AsyncGenerator<DataEntry> {
	const half = { path: 'half', kind: 'dir', mode: 0o755, uid: 1000, gid: 1000, mtimeMs: 0, bytes: 0 } as const;
	yield half;
	throw new Error('the source broke off');
}
