// What the guest agent costs in every instance: one bundled file, quickly there, small. The start is measured in processor time of
// the best of five, because other tests run beside this one; bench/ has the wall times.
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { startGuest } from '../support/guest-process.ts';

const STARTS = 5;
const MAX_START_MS = 150;
const MS_PER_TICK = 10;
const MAX_RSS_MIB = 60;
const MAX_BUNDLE_BYTES = 300_000;

test('one file, started with 150 ms of work, under 60 MiB', async () => {
	const dir = await mkdtemp(join(tmpdir(), 'mvm-bundle-'));
	try {
		const outfile = join(dir, 'agent.cjs');
		const entry = resolve(import.meta.dirname, '../../packages/guest/src/main.ts');
		await build({ entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'cjs', target: 'node24' });
		expect((await stat(outfile)).size).toBeLessThan(MAX_BUNDLE_BYTES);
		const starts: number[] = [];
		const sizes: number[] = [];
		for (let n = 0; n < STARTS; n += 1) {
			await using guest = await startGuest({ program: [process.execPath, outfile] });
			const [, afterName = ''] = (await readFile(`/proc/${guest.child.pid}/stat`, 'utf8')).split(') ');
			const [userTicks, systemTicks] = afterName.split(' ').slice(11, 13).map(Number);
			starts.push(((userTicks ?? 0) + (systemTicks ?? 0)) * MS_PER_TICK);
			await guest.ask({ kind: 'Ping' });
			const status = await readFile(`/proc/${guest.child.pid}/status`, 'utf8');
			sizes.push(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024);
		}

		expect(Math.min(...starts)).toBeLessThan(MAX_START_MS);
		expect(Math.min(...sizes)).toBeLessThan(MAX_RSS_MIB);
		expect(Math.min(...sizes)).toBeGreaterThan(10);
	} finally {
		await rm(dir, { recursive: true });
	}
}, 30_000);
