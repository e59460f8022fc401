// The platform at rest: resident and proportional memory of its processes and the CPU they use, first with what the benchmark left, then
// with 1,000 sleeping instances that are registered through the store's own functions and were never booted.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ImageRecipe, newInstanceId, parsePoolId, parseTenantId } from '@mvm/protocol';
import { pino } from 'pino';
import { createInstance, openDatabase, updateInstance } from '../packages/mvm/src/state/index.ts';
import type { ProcessName } from '../test/support/platform.ts';
import { COUNTER, readDeploy } from '../test/support/platform-deploy.ts';
import { realClock } from '../test/support/real-clock.ts';
import { type Bench, settle } from './bench.ts';

const PROCESSES = ['supervisor', 'hostd', 'daemon', 'postmaster'] as const satisfies readonly ProcessName[];
const TENANTS = 10;
const PER_TENANT = 100;
const CPU_SECONDS = 10;
const TICKS_PER_SEC = 100;

export async function measureIdle(bench: Bench): Promise<void> {
	await settle(5_000);
	await look(bench, 'idle');
	bench.say(`idle: registering ${TENANTS * PER_TENANT} sleeping instances, not booted`);
	await register(bench);
	bench.platform.kill('daemon'); // the next one loads all rows
	await bench.platform.until('another daemon', async () => bench.platform.pid('daemon') !== undefined);
	await bench.platform.ready();
	await settle(10_000);
	await look(bench, `idle, ${TENANTS * PER_TENANT} asleep`);
}

/** What the daemon's own JavaScript holds, as its metrics say. */
async function heap({ platform, key }: Bench): Promise<number> {
	const answer = await fetch(`${platform.edge}/metrics`, { headers: { authorization: `Bearer ${key}` } });
	return Number(/^mvm_process_nodejs_heap_size_used_bytes (\S+)/m.exec(await answer.text())?.[1] ?? Number.NaN);
}

async function look(bench: Bench, section: string): Promise<void> {
	const before = new Map(PROCESSES.map((name) => [name, ticks(pidsOf(bench, name))]));
	bench.say(`${section}: CPU over ${CPU_SECONDS} s`);
	await settle(CPU_SECONDS * 1000);
	for (const name of PROCESSES) {
		const pids = pidsOf(bench, name);
		const sum = (key: string): number => pids.reduce((total, pid) => total + rollup(pid, key), 0) / 1e6;
		const what = name === 'postmaster' ? 'postgres, all processes' : name;
		if (name !== 'postmaster')
			bench.found({
				section,
				what: `${what}: resident`,
				unit: 'MB',
				value: sum('Rss'),
				...(name === 'daemon' ? { below: 150 } : {}),
			});
		bench.found({ section, what: `${what}: proportional`, unit: 'MB', value: sum('Pss') });
		const used = (ticks(pids) - (before.get(name) ?? 0)) / TICKS_PER_SEC / CPU_SECONDS;
		if (name === 'daemon')
			bench.found({ section, what: `${what}: JavaScript heap in use`, unit: 'MB', value: (await heap(bench)) / 1e6 });
		bench.found({ section, what: `${what}: CPU`, unit: '%', value: used * 100 });
	}
}

function pidsOf(bench: Bench, name: ProcessName): number[] {
	const pid = bench.platform.pid(name);
	if (pid === undefined) return [];
	if (name !== 'postmaster') return [pid];
	const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
	return [pid, ...children];
}

/** Bytes of one line of smaps_rollup; 0 for a process that has gone. */
function rollup(pid: number, key: string): number {
	const text = read(`/proc/${pid}/smaps_rollup`);
	return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}

/** User and system time of these processes; fields 14 and 15 of proc(5). */
function ticks(pids: readonly number[]): number {
	return pids.reduce((total, pid) => {
		const stat = read(`/proc/${pid}/stat`);
		const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
		return total + Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
	}, 0);
}

function read(path: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return '';
	}
}

/** Tenants and pools through the API; the rows of the instances through the functions that lifecycle uses. */
async function register({ platform }: Bench): Promise<void> {
	const connection = { socketDir: join(platform.folders.run, 'pg'), database: 'mvm', user: 'mvm_app' };
	const db = openDatabase({ connection, clock: realClock, log: pino({ enabled: false }) });
	const poolId = parsePoolId('workers');
	const { recipes } = readDeploy(COUNTER, { secrets: {}, patch: () => {} });
	try {
		for (const recipe of Object.values(recipes))
			await platform.client.call('image.build', { body: { recipe: ImageRecipe.parse(recipe) } });
		for (let at = 0; at < TENANTS; at += 1) {
			const tenantId = parseTenantId(`many-${at}`);
			await platform.client.call('tenant.create', { body: { id: tenantId, quotas: { maxInstancesPerPool: PER_TENANT } } });
			await platform.client.call('pool.create', { params: { tenant: tenantId }, body: { id: poolId, image: 'counter' } });
			await db.asTenant(tenantId, async (tx) => {
				for (let n = 0; n < PER_TENANT; n += 1) {
					const id = newInstanceId(Uint8Array.of(at, n, 0xbe, 0x7c));
					await createInstance(tx, { id, tenantId, poolId });
					await updateInstance(tx, id, { state: 'sleeping', incarnation: 1 });
				}
			});
		}
	} finally {
		await db.close();
	}
}
