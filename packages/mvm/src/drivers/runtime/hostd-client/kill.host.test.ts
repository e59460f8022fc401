// hostd is killed at random moments of every operation. Whatever it was doing: at most one life of the instance, never an
// older one, nothing that a new hostd does not know, and the instance can always be brought on from there.
import { GuestConfig, parseInstanceId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostdProcess } from '../../../../../../test/support/hostd-process.ts';
import { makeProbeFolders, PROBE_IMAGE_HASH, type ProbeFolders } from '../../../../../../test/support/probe-host.ts';
import type { Observed, Runtime } from '../../../ports/runtime.ts';
import { allPids, innerPid, isDead, readStat, uidOf } from '../process/process-table.ts';
import { uidRange } from '../process/uids.ts';

const ROUNDS = 24;
const SEED = Number(process.env['MVM_TEST_SEED'] ?? Date.now() % 100_000);
const call = () => ({ signal: AbortSignal.timeout(30_000) });
const id = parseInstanceId('i-00000dad');
const config = GuestConfig.parse({ instance_id: id, pool_id: 'p', tenant_id: 't', vcpus: 1, mem_mib: 128 });

let folders: ProbeFolders;
let hostd: HostdProcess;
let runtime: Runtime;
beforeAll(async () => {
	folders = makeProbeFolders();
	hostd = new HostdProcess({ folders, swapMib: 256 });
	runtime = await hostd.start();
});
afterAll(async () => {
	await runtime.destroy(id, call());
	await hostd.end('SIGINT');
	folders.remove();
});

/** mulberry32: small and good enough to pick moments. */
function random(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}

/** Sandboxes alive in the instance's uid range: processes that are the init of a pid namespace. */
function sandboxes(slot: number): number {
	const { base, count } = uidRange(slot);
	return allPids().filter((pid) => {
		const uid = uidOf(pid);
		const stat = readStat(pid);
		if (stat === undefined || isDead(stat)) return false;
		return uid !== undefined && uid >= base && uid < base + count && innerPid(pid) === 1;
	}).length;
}

it(`keeps one life at a time however often it is killed (seed ${SEED})`, { timeout: 240_000 }, async () => {
	const roll = random(SEED);
	const kills = new Map<string, number>();
	let incarnation = 0;
	let highest = 0;
	const operations: Record<string, (observed: Observed | undefined) => Promise<unknown>> = {
		boot: async () => {
			await runtime.prepare({ instanceId: id, dataDiskMib: 32 }, call());
			incarnation += 1;
			const size = { vcpus: 1, memMib: 128, pidsMax: 64 };
			return runtime.boot({ instanceId: id, incarnation, token: 't', image: PROBE_IMAGE_HASH, ...size, config }, call());
		},
		freeze: () => runtime.freeze(id, call()),
		thaw: () => {
			incarnation += 1;
			return runtime.thaw({ instanceId: id, incarnation }, call());
		},
		snapshot: () => runtime.snapshot(id, call()),
		secrets: () =>
			runtime.writeSecrets({ instanceId: id, epoch: 1, files: [{ integration: 'a', key: 'K', value: 'v' }] }, call()),
		stop: () => runtime.stop({ instanceId: id, graceMs: 200 }, call()),
		destroy: () => runtime.destroy(id, call()),
	};
	const choices = (observed: Observed | undefined): readonly string[] => {
		if (observed === undefined) return ['boot'];
		if (observed.state === 'running') return ['freeze', 'secrets', 'stop'];
		if (observed.state === 'frozen') return ['thaw', 'snapshot', 'stop'];
		return ['boot', 'destroy'];
	};
	for (let round = 0; round < ROUNDS; round += 1) {
		let before = await runtime.inspect(id, call());
		// Every second round starts from a running instance, so that the kill meets other operations than boots.
		if (round % 2 === 1 && before?.state !== 'running' && before?.state !== 'frozen') {
			await operations['boot']?.(before);
			before = await runtime.inspect(id, call());
			highest = incarnation;
		}
		const open = choices(before);
		// What was hit least so far comes first, so that every operation is hit.
		const name = [...open].sort((a, b) => (kills.get(a) ?? 0) - (kills.get(b) ?? 0))[0] ?? 'boot';
		const work = operations[name]?.(before).then(
			() => 'done',
			(error: unknown) => error,
		);
		await new Promise((resolve) => setTimeout(resolve, roll() * 70));
		await hostd.end('SIGKILL');
		const outcome = await work;
		kills.set(name, (kills.get(name) ?? 0) + 1);
		runtime = await hostd.start();
		const after = await runtime.inspect(id, call());
		const told = JSON.stringify({ round, name, outcome: String(outcome), before, after });
		if (name === 'destroy' && after === undefined) {
			[incarnation, highest] = [0, 0];
			continue;
		}
		if (after === undefined) continue; // killed before it was prepared
		expect(after.incarnation, told).toBeGreaterThanOrEqual(name === 'destroy' ? 0 : highest);
		expect(after.incarnation, told).toBeLessThanOrEqual(incarnation);
		highest = after.incarnation;
		const alive = after.state === 'running' || after.state === 'frozen';
		expect(sandboxes(after.slot), told).toBe(alive ? 1 : 0);
		if (outcome === 'done' && name === 'boot') expect(after.incarnation, told).toBe(incarnation);
		if (outcome === 'done' && name === 'stop') expect(alive, told).toBe(false);
		if (highest > 0 && !alive) {
			const stale = {
				instanceId: id,
				incarnation: highest,
				token: 't',
				image: PROBE_IMAGE_HASH,
				vcpus: 1,
				memMib: 128,
				pidsMax: 64,
			};
			await expect(runtime.boot({ ...stale, config }, call()), told).rejects.toMatchObject({ code: 'INCARNATION_STALE' });
		}
	}
	process.stdout.write(`hostd kills: ${[...kills].map(([name, times]) => `${name} ${times}`).join(', ')}\n`);
	for (const name of ['boot', 'freeze', 'secrets', 'stop', 'destroy']) expect(kills.get(name), name).toBeGreaterThan(0);
});
