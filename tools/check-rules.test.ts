import { expect, test } from 'vitest';
import { checkFile } from './check-rules.ts';

const head = '// role\n';
const cases: readonly [string, string, string][] = [
	['packages/mvm/src/domain/x.ts', 'const now = Date.now();', 'domain takes time'],
	['packages/mvm/src/lifecycle/x.ts', 'setTimeout(run, 5);', 'timers belong'],
	['packages/guest/src/x.ts', "spawn('x', { shell: true });", 'no shell strings'],
	['docs/x.md', 'see /work/main/x', 'no machine path'],
	['tools/x.ts', '// TODO later', 'issue number'],
	['test/x.test.ts', "it.skip('x', () => {});", 'switched off'],
	['packages/mvm/src/x.ts', `${'\n'.repeat(700)}`, 'split it'],
];

test.each(cases)('%s is refused for "%s"', (path, line, message) => {
	expect(
		checkFile(path, head + line)
			.map((f) => f.message)
			.join(),
	).toContain(message);
});

test('a file without its role is refused, one with it passes', () => {
	expect(checkFile('packages/mvm/src/x.ts', 'export const x = 1;')).toHaveLength(1);
	expect(checkFile('packages/mvm/src/x.ts', `${head}export const x = 1;\n`)).toEqual([]);
});
