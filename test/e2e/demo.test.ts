// `make demo` as a person runs it, with both agents: the process, its timeline and its exit code. The OpenClaw one installs the real
// package from npm; an install that fails is a failure.
import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const DEMO = resolve(import.meta.dirname, '../../examples/demo/main.ts');
let dir: string;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), 'mvm-d-'));
	await chmod(dir, 0o755); // as root the daemon is another user
});
afterEach(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));

function demo(...args: string[]): Promise<{ code: number | null; text: string }> {
	const child = spawn(process.execPath, [DEMO, '--dir', dir, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
	let text = '';
	for (const stream of [child.stdout, child.stderr])
		stream.on('data', (chunk: Buffer) => {
			text += chunk.toString();
		});
	return new Promise((done) => child.once('close', (code) => done({ code, text })));
}

test('the demo with the counter answers three messages in its sleep', async () => {
	const { code, text } = await demo('--agent', 'counter');
	expect(code, text).toBe(0);
	expect(text).toMatch(/demo ok \(\d+ s\): 3 messages/);
	expect(text.match(/asleep: pid /g)?.length).toBe(4);
});

test('the demo with a real OpenClaw remembers across a sleep', async () => {
	const { code, text } = await demo('--agent', 'openclaw');
	expect(code, text).toBe(0);
	expect(text).toMatch(/demo ok \(\d+ s\): 2 messages, a real OpenClaw that slept before each and remembered/);
	expect(text).toMatch(/second turn's model request contains violet-[0-9a-f]{8}/);
	expect(text).toContain("the message's own");
	expect(text).toMatch(/asleep: pid \d+, resident \d+ MB, charged \d+ MB, in swap/);
	console.log(text);
});

test('the demo says which agents there are', async () => {
	const { code, text } = await demo('--agent', 'nobody');
	expect(code).toBe(2);
	expect(text).toContain('openclaw|counter');
});
