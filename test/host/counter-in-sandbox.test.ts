// The counter example in a real sandbox, its agent and commands as different users: what a plain process cannot show. The supervisor
// has no right to the workload's files or processes, so directories, markers, health, kills and stops all go through its user.
import { cpSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { GuestConfig, type InstanceId, parseInstanceId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../packages/mvm/src/drivers/clock/system.ts';
import { makeHttp2UnixLinkHost } from '../../packages/mvm/src/drivers/link/http2-unix/link-host.ts';
import { makeProcessRuntime } from '../../packages/mvm/src/drivers/runtime/process/driver.ts';
import { openProcessHost, type ProcessHost } from '../../packages/mvm/src/drivers/runtime/process/host.ts';
import { GuestAgent } from '../../packages/mvm/src/lifecycle/guest-agent.ts';
import { stage } from '../../packages/mvm/src/main/stage.ts';
import { closeInheritedDescriptors } from '../../packages/mvm/src/platform/descriptors.ts';
import { silentLogger } from '../../packages/mvm/src/platform/logger.ts';
import type { Link } from '../../packages/mvm/src/ports/link.ts';
import type { BootInput, Runtime } from '../../packages/mvm/src/ports/runtime.ts';
import { eventually } from '../support/guest-process.ts';
import { makeProbeFolders, PROBE_IMAGE, PROBE_IMAGE_HASH, type ProbeFolders } from '../support/probe-host.ts';

/** Fails when there are more processes `sleep` than one hung check has. */
const COUNT_SLEEPERS = `n=0; for f in /proc/[0-9]*/comm; do read -r c < "$f" || continue; [ "$c" != sleep ] || n=$((n+1)); done
echo "$n sleepers, uid $(id -u)" >&2; [ "$n" -le 2 ] && [ "$(id -u)" = 1000 ]`;
const APP = resolve(import.meta.dirname, '../../examples/counter/app');
const call = (ms = 20_000) => ({ signal: AbortSignal.timeout(ms) });
const id: InstanceId = parseInstanceId('i-0a9e0002');
const identity = { incarnation: 1, token: 'first' };

let folders: ProbeFolders;
let host: ProcessHost;
let runtime: Runtime;
let link: Link;
let agent: GuestAgent;
let boot: BootInput;

beforeAll(async () => {
	closeInheritedDescriptors();
	folders = makeProbeFolders();
	const { root } = await stage({ distDir: `${folders.root}/staged` });
	const { dataDir, runDir, claimsDir } = folders;
	const where = { dataDir, runDir, claimsDir, guestDir: `${root}/guest`, cgroupParent: `mvm-test-${process.pid}-counter` };
	// A copy: the instance's users cannot pass a checkout under a 0700 home.
	const source = `${folders.root}/counter-app`;
	cpSync(APP, source, { recursive: true });
	const image = { ...PROBE_IMAGE, binds: [...PROBE_IMAGE.binds, { source, target: '/opt/app' }] };
	host = await openProcessHost(
		{ ...where, daemon: { uid: 0, gid: 0 } },
		{ clock: systemClock, log: silentLogger, resolveImage: async () => image },
		call(),
	);
	const images = { installImage: () => Promise.reject(new Error('none')), listImages: async () => [], gcImages: async () => [] };
	runtime = makeProcessRuntime(host, { images });
	const { linkDir } = await runtime.prepare({ instanceId: id, dataDiskMib: 64 }, call());
	link = await makeHttp2UnixLinkHost({ clock: systemClock, log: silentLogger }).open({
		instanceId: id,
		linkDir,
		identity,
		handlers: new Map(),
	});
	const config = GuestConfig.parse({
		instance_id: id,
		pool_id: 'pool',
		tenant_id: 'tenant',
		vcpus: 1,
		mem_mib: 256,
		min_runtime_policy: { drain_timeout_seconds: 10 },
		integrations: [
			{
				name: 'counter',
				critical: true,
				checkpoint_cmd: 'sh /opt/app/checkpoint.sh',
				restore_cmd: 'sh /opt/app/restore.sh',
				health_cmd: '/opt/mvm/bin/node /opt/app/health.js',
			},
			// Its leader ignores the polite signal, and so does the child that stays behind.
			{
				name: 'hung',
				health_cmd: 'trap "" TERM; sleep 4711 & while :; do sleep 1; done',
				health_timeout_secs: 1,
				health_interval_secs: 1,
			},
			{ name: 'looks', checkpoint_cmd: COUNT_SLEEPERS },
		],
		workload: {
			command: ['/opt/mvm/bin/node', '/opt/app/main.js'],
			ready: { port: 8787, path: '/startupz' },
			stop_timeout_secs: 5,
		},
		uids: { workload: 1000, executor_base: 2001 },
	});
	boot = { instanceId: id, image: PROBE_IMAGE_HASH, vcpus: 1, memMib: 256, pidsMax: 128, config, ...identity };
	await runtime.boot(boot, call());
	await link.until(['up'], call());
	agent = new GuestAgent(link);
	await agent.postRestore({ ...identity, nowMs: Date.now(), secretsEpoch: 1, reseed: '' }, call());
	await agent.wake(call());
	await eventually(async () => (await agent.supervisorStatus(call())).workload.state === 'ready', 15_000);
}, 60_000);
afterAll(async () => {
	await runtime.destroy(id, call());
	await link.close();
	host.abilities.cgroups?.removeParents();
	folders.remove();
});

async function http(stream: Duplex, method: string, path: string, body = ''): Promise<string> {
	stream.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
	const answer = await text(stream);
	stream.destroy();
	return answer;
}
const ask = async (method: string, path: string, body?: string): Promise<string> =>
	http(await agent.forward(8787, call()), method, path, body);
const reports = async () => {
	const { integrations } = await agent.integrationStatus(call());
	return Object.fromEntries(integrations.map((report) => [report.name, report]));
};

it('counts, checkpoints as the workload user and reports a hung health check, whose group is gone', async () => {
	const delivered = await ask(
		'POST',
		'/telegram-webhook',
		JSON.stringify({ update_id: 1, message: { chat: { id: 7 }, text: 'a' } }),
	);
	expect(delivered).toMatch(/200 OK[\s\S]*x-openclaw-delivery-accepted: durable/);
	const checkpoint = await agent.checkpointIntegrations([], call());
	expect(checkpoint).toMatchObject({ success: true, failed: [] });
	await eventually(async () => (await reports())['counter']?.status === 'active', 10_000);
	await eventually(async () => (await reports())['hung']?.health?.healthy === false, 10_000);
	const { counter, hung } = await reports();
	expect(counter?.lastCheckpointAt).not.toBeNull();
	expect(counter?.stateSizeBytes).toBeGreaterThan(50);
	expect(hung?.health?.detail).toMatch(/^timed out/);
	const again = hung?.health?.checkedAt;
	await eventually(async () => (await reports())['hung']?.health?.checkedAt !== again, 10_000);
	expect(await agent.checkpointIntegrations(['looks'], call())).toMatchObject({ success: true });
});

it('carries on after a freeze with a backlog of requests', async () => {
	await runtime.freeze(id, call());
	link.expect({ incarnation: 2, token: 'second' });
	await runtime.thaw({ instanceId: id, incarnation: 2 }, call());
	await agent.postRestore({ incarnation: 2, token: 'second', nowMs: Date.now(), secretsEpoch: 1, reseed: 'cw' }, call());
	link.acknowledged();
	await agent.wake(call());
	await runtime.freeze(id, call());
	const waiting = Array.from({ length: 100 }, () => ask('GET', '/count'));
	await new Promise((done) => setTimeout(done, 1000));
	await runtime.thaw({ instanceId: id, incarnation: 3 }, call());
	const answers = await Promise.all(waiting);
	expect(answers.every((answer) => answer.includes('"count":1'))).toBe(true);
});

it('drains, holds, stops with the workload having been asked first, and leaves nothing behind', async () => {
	expect(await agent.sleepPrep(10, call())).toEqual({ kind: 'SleepPrepAck', success: true, detail: null });
	await expect(agent.forward(8787, call())).rejects.toMatchObject({ code: 'GUEST_ERROR' });
	await agent.wake(call());
	expect(await ask('GET', '/count')).toContain('"count":1');
	const began = performance.now();
	await runtime.stop({ instanceId: id, graceMs: 15_000 }, call());
	expect(performance.now() - began).toBeLessThan(5000);
	const log = await runtime.logs({ instanceId: id, tailBytes: 20_000 }, call());
	expect(log).toContain('workload| counting from 0 on port 8787');
	expect(log).toContain('"msg":"stopping"');
});

it('ends as a whole when the supervisor is killed', async () => {
	link.expect({ incarnation: 4, token: 'fourth' });
	await runtime.boot({ ...boot, incarnation: 4, token: 'fourth' }, call());
	await link.until(['up'], call());
	await agent.wake(call());
	await eventually(async () => (await agent.supervisorStatus(call())).workload.state === 'ready', 15_000);
	const { pid: init, tasks = 0 } = (await runtime.inspect(id, call())) ?? {};
	expect(tasks).toBeGreaterThan(2);
	const supervisor = Number(readFileSync(`/proc/${init}/task/${init}/children`, 'utf8').split(' ')[0]);
	process.kill(supervisor, 'SIGKILL');
	await eventually(async () => (await runtime.inspect(id, call()))?.state === 'exited', 10_000);
	expect(await runtime.stop({ instanceId: id, graceMs: 10_000 }, call())).toMatchObject({ state: 'absent' });
});
