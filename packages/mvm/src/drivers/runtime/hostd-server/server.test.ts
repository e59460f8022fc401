// The door itself, over a real socket with a runtime that refuses: an answer always arrives, however slowly the caller sends.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MvmError, parseInstanceId } from '@mvm/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { silentLogger } from '../../../platform/logger.ts';
import type { DataEntry, Runtime } from '../../../ports/runtime.ts';
import { makeHostdClient } from '../hostd-client/client.ts';
import { documentFrame } from '../hostd-rpc/frames.ts';
import { makeHostdServer } from './server.ts';

const root = mkdtempSync(join(tmpdir(), 'mvm-door-'));
const socketPath = join(root, 's');
const id = parseInstanceId('i-00000001');
const call = () => ({ signal: AbortSignal.timeout(10_000) });
async function* nothing(): AsyncGenerator<DataEntry> {}
const runtime = {
	checkpointData: async () => ({ entries: nothing(), refused: () => [] }),
	restoreData: async () => {
		throw new MvmError('NOT_QUIESCENT', 'it runs');
	},
} as unknown as Runtime;
const server = makeHostdServer({ runtime, log: silentLogger });
beforeAll(() => new Promise<void>((resolve) => server.http.listen(socketPath, resolve)));
afterAll(async () => {
	await server.drain({ signal: AbortSignal.timeout(5_000) });
	rmSync(root, { recursive: true });
});

it('answers a refusal while the caller is still sending', async () => {
	async function* endless(): AsyncGenerator<DataEntry> {
		for (let n = 0; ; n += 1) yield { path: `f${n}`, kind: 'dir', mode: 0o755, uid: 1, gid: 1, mtimeMs: 0, bytes: 0 };
	}
	await expect(makeHostdClient({ socketPath }).restoreData(id, endless(), call())).rejects.toMatchObject({
		code: 'NOT_QUIESCENT',
	});
});

it('answers a stream request whose end comes later than its first frame', async () => {
	const frame = documentFrame('D', { instance_id: id });
	const answer = await new Promise<string>((resolve, reject) => {
		const socket = connect(socketPath, () => {
			socket.write(`POST /rpc/checkpoint_data HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n`);
			socket.write(Buffer.concat([Buffer.from(`${frame.length.toString(16)}\r\n`), frame, Buffer.from('\r\n')]));
			setTimeout(() => socket.write('0\r\n\r\n'), 50);
		});
		let text = '';
		socket.on('data', (chunk) => {
			text += chunk;
		});
		socket.on('close', () => resolve(text));
		socket.on('error', reject);
	});
	expect(answer).toMatch(/^HTTP\/1.1 200 /);
	expect(answer).toContain('"refused":[]');
});
