import { parseTenantId } from '@mvm/protocol';
import { MvmClient } from '@mvm/sdk';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type EdgeHarness, edgeHarness } from '../support/edge-harness.ts';

let edge: EdgeHarness;
const clients: MvmClient[] = [];
const client = (server: ConstructorParameters<typeof MvmClient>[0]): MvmClient => {
	const made = new MvmClient(server);
	clients.push(made);
	return made;
};
beforeEach(async () => {
	edge = await edgeHarness();
});
afterEach(async () => {
	for (const one of clients.splice(0)) one.close();
	await edge[Symbol.asyncDispose]();
});
const acme = parseTenantId('acme');

test('the same route answers over the admin socket and over TCP with a key, in the spelling of TypeScript', async () => {
	const seen: string[] = [];
	edge.handlers['ingress.list'] = async ({ principal }, { params, query }) => {
		seen.push(`${principal.actor} ${params.tenant} ${query.state} ${query.poolId}`);
		return { items: [], next: '7' };
	};
	const input = { params: { tenant: 'acme' }, query: { state: 'dead', poolId: 'workers' as never } } as const;
	for (const server of [{ socketPath: edge.adminSocket }, { server: edge.base, key: edge.keys.admin }]) {
		expect(await client(server).routes.ingress.list(input)).toEqual({ items: [], next: '7' });
	}
	expect(seen).toEqual(['operator:admin-socket acme dead workers', 'key:key-00000002 acme dead workers']);
});

test("the platform's errors come out as they went in; an absent platform says what to do", async () => {
	const refused = client({ server: edge.base, key: edge.keys.user }).routes.tenant.list();
	await expect(refused).rejects.toMatchObject({ name: 'MvmError', code: 'FORBIDDEN', hint: expect.any(String) });
	const away = client({ socketPath: `${edge.adminSocket}.not` }).routes.host.doctor();
	await expect(away).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', hint: expect.stringContaining('mvm up') });
});

test('a long request tells its progress and ends with its result or its error', async () => {
	edge.handlers['image.gc'] = async ({ progress }, { body }) => {
		progress('one');
		progress('two');
		if (body.keep === 9) throw new Error('broken');
		return { removed: [String(body.keep)] };
	};
	const lines: string[] = [];
	const mvm = client({ socketPath: edge.adminSocket });
	const onProgress = (line: string): void => void lines.push(line);
	expect(await mvm.routes.image.gc({}, { onProgress })).toEqual({ removed: ['2'] });
	expect(lines).toEqual(['one', 'two']);
	await expect(mvm.routes.image.gc({ body: { keep: 9 } }, { onProgress })).rejects.toMatchObject({ code: 'INTERNAL' });
});

test('following goes on over a lost connection and misses nothing', async () => {
	const event = (id: number) => ({
		id,
		tenantId: acme,
		poolId: null,
		instanceId: null,
		kind: 'k',
		detail: {},
		traceId: null,
		at: '2026-01-01T00:00:00.000Z',
	});
	edge.events.push(event(1), event(2));
	const stop = new AbortController();
	const ids: number[] = [];
	const following = (async () => {
		for await (const one of client({ socketPath: edge.adminSocket }).follow({ after: '0' }, { signal: stop.signal }))
			ids.push(one.id);
	})();
	await expect.poll(() => ids).toEqual([1, 2]);
	edge.breakStreams();
	edge.events.push(event(3));
	await expect.poll(() => ids, { timeout: 5_000 }).toEqual([1, 2, 3]);
	stop.abort();
	await following;
});
