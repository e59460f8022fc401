// The counter demo, whole, as an ordinary user: what is missing without root makes it weaker, never broken. Runs from a
// copy, so that the other user can read it wherever the checkout lies.
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { copyCheckout } from '../support/checkout-copy.ts';

const USER = 65_534;
const isRoot = process.getuid?.() === 0;
let root: string;
let copy: string;
let node: string;
beforeAll(() => {
	root = mkdtempSync(join(tmpdir(), 'mvm-user-'));
	chmodSync(root, 0o755);
	copy = join(root, 'copy');
	node = copyCheckout(copy);
	mkdirSync(join(root, 'home/run'), { recursive: true });
	if (isRoot) for (const path of ['home', 'home/run']) chownSync(join(root, path), USER, USER);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

it('answers every message from sleep without root', async () => {
	const home = join(root, 'home');
	const env = { HOME: home, XDG_RUNTIME_DIR: join(home, 'run'), PATH: `${copy}/bin:/usr/sbin:/usr/bin:/sbin:/bin` };
	const drop = isRoot ? ['setpriv', '--reuid', String(USER), '--regid', String(USER), '--clear-groups', '--'] : [];
	const argv = [...drop, node, join(copy, 'examples/demo/main.ts'), '--agent', 'counter'];
	const [command = '', ...args] = argv;
	const child = spawn(command, args, { env, cwd: home, stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	for (const stream of [child.stdout, child.stderr])
		stream.on('data', (chunk) => {
			output += chunk;
		});
	const code = await new Promise((resolve) => child.once('close', resolve));
	expect(output).toMatch(/demo ok/);
	expect(output).toMatch(/asleep: pid -, no memory held/);
	expect(code).toBe(0);
});
