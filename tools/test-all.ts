// `make test`: the checks, then every test project, one tally line at the end. A part that prints no tally counts as one failure.
import { spawn } from 'node:child_process';

const parts: readonly { name: string; argv: readonly [string, ...string[]] }[] = [
	{ name: 'check', argv: [process.execPath, 'tools/check.ts', '--force'] },
	{ name: 'unit and postgres', argv: ['node_modules/.bin/vitest', 'run', '--project', 'unit', '--project', 'postgres'] },
	{ name: 'host', argv: ['node_modules/.bin/vitest', 'run', '--project', 'host'] },
	{ name: 'e2e', argv: ['node_modules/.bin/vitest', 'run', '--project', 'e2e'] },
];

const total = { passed: 0, failed: 0, skipped: 0 };
for (const part of parts) {
	process.stdout.write(`\n== ${part.name}\n`);
	const [command, ...args] = part.argv;
	const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
	let tail = '';
	child.stdout.on('data', (chunk: Buffer) => {
		process.stdout.write(chunk);
		tail = (tail + chunk.toString()).slice(-4000);
	});
	const code = await new Promise<number>((done) => child.on('close', (c) => done(c ?? 1)));
	const tally = [...tail.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm)].at(-1);
	if (part.name === 'check') {
		if (code !== 0) total.failed += 1;
		else total.passed += 1;
	} else if (tally === undefined) total.failed += 1;
	else {
		total.passed += Number(tally[1]);
		total.failed += Number(tally[2]);
		total.skipped += Number(tally[3]);
		if (code !== 0 && Number(tally[2]) === 0) total.failed += 1;
	}
}
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
