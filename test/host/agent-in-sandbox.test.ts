// The real guest agent, staged and bundled, in a real sandbox, over the real link: the smallest thing that shows host and guest
// agree on users, folders, descriptors and identity.
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
import type { Runtime } from '../../packages/mvm/src/ports/runtime.ts';
import { makeProbeFolders, PROBE_IMAGE, PROBE_IMAGE_HASH, type ProbeFolders } from '../support/probe-host.ts';

const WORKLOAD = `require('http').createServer((q, a) => {
	require('fs').appendFileSync('/data/hits', 'x');
	a.end(process.getuid() + ' ' + require('fs').readFileSync('/data/hits').length);
}).listen(8080, '127.0.0.1')`;
const call = () => ({ signal: AbortSignal.timeout(20_000) });
const id: InstanceId = parseInstanceId('i-0a9e0001');

let folders: ProbeFolders;
let host: ProcessHost;
let runtime: Runtime;
beforeAll(async () => {
	closeInheritedDescriptors();
	folders = makeProbeFolders();
	const { root } = await stage({ distDir: `${folders.root}/staged` });
	const { dataDir, runDir, claimsDir } = folders;
	const where = { dataDir, runDir, claimsDir, guestDir: `${root}/guest`, cgroupParent: `mvm-test-${process.pid}` };
	host = await openProcessHost(
		{ ...where, daemon: { uid: 0, gid: 0 } },
		{ clock: systemClock, log: silentLogger, resolveImage: async () => PROBE_IMAGE },
		call(),
	);
	const images = { installImage: () => Promise.reject(new Error('none')), listImages: async () => [], gcImages: async () => [] };
	runtime = makeProcessRuntime(host, { images });
});
afterAll(async () => {
	await runtime.destroy(id, call());
	host.abilities.cgroups?.removeParents();
	folders.remove();
});

it('boots, serves, freezes, thaws as a new incarnation and stops', async () => {
	const { linkDir } = await runtime.prepare({ instanceId: id, dataDiskMib: 64 }, call());
	const identity = { incarnation: 1, token: 'first' };
	const links = makeHttp2UnixLinkHost({ clock: systemClock, log: silentLogger });
	const wasIssued = (): boolean => true;
	const link = await links.open({ instanceId: id, linkDir, identity, wasIssued, handlers: new Map() });
	const config = GuestConfig.parse({
		instance_id: id,
		pool_id: 'pool',
		tenant_id: 'tenant',
		vcpus: 1,
		mem_mib: 256,
		workload: { command: ['/opt/mvm/bin/node', '-e', WORKLOAD], ready: { port: 8080, path: '/' } },
		uids: { workload: 1000, executor_base: 2001 },
	});
	const boot = { instanceId: id, image: PROBE_IMAGE_HASH, vcpus: 1, memMib: 256, pidsMax: 128, config, ...identity };
	await runtime.boot(boot, call());
	await link.until(['up'], call());
	const agent = new GuestAgent(link);
	const restored = { nowMs: Date.now(), secretsEpoch: 1, reseed: 'cmVzZWVk' };
	await agent.postRestore({ ...identity, ...restored }, call());
	await agent.wake(call());
	const log = () => runtime.logs({ instanceId: id, tailBytes: 5000 }, call());
	const deadline = performance.now() + 15_000;
	for (;;) {
		const { workload } = await agent.supervisorStatus(call());
		if (workload.state === 'ready') break;
		if (performance.now() > deadline) throw new Error(`${JSON.stringify(workload)}\n${await log()}`);
		await systemClock.sleep(20, call());
	}
	const get = async (): Promise<string> => {
		const stream = await agent.forward(8080, call());
		stream.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
		let text = '';
		for await (const chunk of stream) text += chunk;
		return text.split('\r\n\r\n')[1] ?? '';
	};
	expect(await get()).toContain('1000 ');
	await runtime.freeze(id, call());
	const next = { incarnation: 2, token: 'second' };
	link.expect(next);
	await runtime.thaw({ instanceId: id, incarnation: 2 }, call());
	await link.until(['stale', 'up'], call());
	await agent.postRestore({ ...next, ...restored }, call());
	link.acknowledged();
	await agent.wake(call());
	expect(await get()).toContain('1000 ');
	expect((await agent.supervisorStatus(call())).incarnation).toBe(2);
	const began = performance.now();
	expect(await runtime.stop({ instanceId: id, graceMs: 15_000 }, call())).toMatchObject({ state: 'absent' });
	expect(performance.now() - began).toBeLessThan(10_000);
	await link.close();
});
