// Each documentation guard refuses what it is there for.
import { expect, test } from 'vitest';
import { checkDocument, checkRequirements, type Repository } from './check-docs.ts';

const files: Readonly<Record<string, string>> = {
	'docs/a.md': '',
	'packages/x/src/y.test.ts': `test('a message is kept until it is proven', () => {})`,
};
const repository: Repository = {
	read: (path) => files[path],
	exists: (path) => path in files,
	makeTargets: new Set(['demo']),
	scripts: new Set(['check']),
};
const check = (text: string, path = 'docs/promises.md'): string => checkDocument(path, text, repository).join('\n');

test('a good document passes', () => {
	const good = 'See [a](a.md), [site](https://example.com), `make demo`, `npm run check`.';
	expect(check(`${good} \`packages/x/src/y.test.ts\` "a message is kept until it is proven", "a message is kept…"`)).toBe('');
});
test.each([
	['see [b](b.md)', 'no such file: b.md'],
	['`make coffee`', 'no make target: coffee'],
	['`npm run coffee`', 'no npm script: coffee'],
	['`packages/x/src/z.test.ts`', 'no such test file: packages/x/src/z.test.ts'],
	['`packages/x/src/y.test.ts` "a message is lost"', 'has no test "a message is lost"'],
	['`packages/x/src/y.test.ts` "a message is kept", "another"', 'has no test "another"'],
])('%s', (text, message) => expect(check(text)).toContain(message));
test('links in code blocks are examples', () => expect(check('```\n[b](b.md)\n```')).toBe(''));
test('test names are looked up only where they are promised', () => {
	expect(check('`packages/x/src/z.test.ts`', 'docs/other.md')).toBe('');
});

test('a requirement is there once, and ends in a test or in pending with its issue', () => {
	const rows = ['| R-3.1.1 | words | `packages/x/src/y.test.ts` |', '| R-3.1.2 | words | pending (issue 4) |'];
	const of = (text: string): string[] => checkRequirements('r', text).filter((p) => !p.endsWith(' is missing'));
	expect(of(rows.join('\n'))).toEqual([]);
	expect(of([...rows, rows[0]].join('\n'))).toEqual(['r: R-3.1.1 is there 2 times']);
	expect(of('| R-3.1.1 | words | soon |')).toEqual(['r: R-3.1.1 names neither a test nor "pending (issue N)"']);
	expect(checkRequirements('r', rows.join('\n'))).toContain('r: R-3.15.4 is missing');
	expect(checkRequirements('r', rows.join('\n'))).not.toContain('r: R-3.1.1 is missing');
});
