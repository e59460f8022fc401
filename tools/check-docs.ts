// Documentation guards: every relative link points at a file, every `make` target and npm script named in a document exists,
// and documents that map promises or requirements to tests name only tests that exist. Pure functions over one document each;
// tools/check-docs.test.ts shows each one fail.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkCommands, checkMetrics, checkSettings, checkVariables } from './check-facts.ts';
import { CLI_PAGE, cliPage, commandOptions } from './cli-page.ts';

/** What the guards may ask of the repository. */
export interface Repository {
	/** Text of a file, or undefined when there is none. */
	readonly read: (path: string) => string | undefined;
	readonly exists: (path: string) => boolean;
	readonly makeTargets: ReadonlySet<string>;
	readonly scripts: ReadonlySet<string>;
}
const withoutBlocks = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, '');

/** Relative links, `make` targets and npm scripts. */
export function checkLinks(path: string, text: string, repository: Repository): string[] {
	const problems: string[] = [];
	for (const [, target] of withoutBlocks(text).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
		if (target !== undefined && !/^[a-z]+:/.test(target) && !repository.exists(join(dirname(path), target)))
			problems.push(`${path}: no such file: ${target}`);
	}
	for (const [, target] of text.matchAll(/`make ([a-z]+)/g))
		if (target !== undefined && !repository.makeTargets.has(target)) problems.push(`${path}: no make target: ${target}`);
	for (const [, script] of text.matchAll(/`npm run ([a-z0-9:]+)/g))
		if (script !== undefined && !repository.scripts.has(script)) problems.push(`${path}: no npm script: ${script}`);
	return problems;
}

/** Documents that promise something about tests, from the root of the repository. */
export const TESTED_DOCUMENTS: readonly string[] = ['docs/promises.md', 'docs/requirements.md'];

/**
 * In such a document a test is written as `path/x.test.ts` in backticks, a name of one of its tests after it in straight double
 * quotes; a name may be cut with `…`. Every path must exist, every name must stand in that file.
 */
export function checkTestReferences(path: string, text: string, repository: Repository): string[] {
	const problems: string[] = [];
	for (const [, file, names] of text.matchAll(/`([^`\s]+\.test\.ts)`((?:,? "[^"\n]+")*)/g)) {
		if (file === undefined) continue;
		const source = repository.read(normalize(file));
		if (source === undefined) problems.push(`${path}: no such test file: ${file}`);
		else
			for (const [, name] of (names ?? '').matchAll(/"([^"]+)"/g))
				if (name !== undefined && !source.includes(name.replace(/…$/, '')))
					problems.push(`${path}: ${file} has no test "${name}"`);
	}
	return problems;
}

/** How many lines each section of the requirements has; is the last of the first. */
const REQUIREMENTS: Readonly<Record<string, number>> = {
	'3.1': 8,
	'3.2': 6,
	'3.3': 7,
	'3.4': 7,
	'3.5': 7,
	'3.6': 7,
	'3.7': 7,
	'3.8': 8,
	'3.9': 6,
	'3.10': 6,
	'3.11': 5,
	'3.12': 6,
	'3.13': 5,
	'3.14': 5,
	'3.15': 4,
};

/** Every numbered requirement has exactly one row, and every row ends in a test or in `pending (issue N)`. */
export function checkRequirements(path: string, text: string): string[] {
	const problems: string[] = [];
	const seen = new Map<string, number>();
	for (const line of text.split('\n')) {
		const [, id] = /^\| (R-[0-9.]+) \|/.exec(line) ?? [];
		if (id === undefined) continue;
		seen.set(id, (seen.get(id) ?? 0) + 1);
		const cells = line.split('|').map((cell) => cell.trim());
		const shown = cells.at(-2) ?? '';
		if (!/`[^`]+\.test\.ts`/.test(shown) && !/\bpending \(issue \d+[^)]*\)/.test(shown))
			problems.push(`${path}: ${id} names neither a test nor "pending (issue N)"`);
	}
	for (const [id, times] of seen) if (times > 1) problems.push(`${path}: ${id} is there ${times} times`);
	for (const [section, count] of Object.entries(REQUIREMENTS))
		for (let n = 1; n <= count; n += 1)
			if (!seen.has(`R-${section}.${n}`)) problems.push(`${path}: R-${section}.${n} is missing`);
	return problems;
}

/** All problems of one document. */
export function checkDocument(path: string, text: string, repository: Repository): string[] {
	return [
		...checkLinks(path, text, repository),
		...(TESTED_DOCUMENTS.includes(path) ? checkTestReferences(path, text, repository) : []),
		...(path === 'docs/requirements.md' ? checkRequirements(path, text) : []),
	];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
	const read = (path: string): string | undefined => (existsSync(path) ? readFileSync(path, 'utf8') : undefined);
	const repository: Repository = {
		read,
		exists: existsSync,
		makeTargets: new Set([...(read('Makefile') ?? '').matchAll(/^([a-z]+):/gm)].flatMap(([, target]) => target ?? [])),
		scripts: new Set(Object.keys((JSON.parse(read('package.json') ?? '{}') as { scripts?: object }).scripts ?? {})),
	};
	const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { encoding: 'utf8' })
		.split('\n')
		.filter((path) => path !== '' && existsSync(path));
	const commands = commandOptions();
	const problems = files.flatMap((path) => [
		...checkDocument(path, read(path) ?? '', repository),
		...checkCommands(path, read(path) ?? '', commands),
	]);
	const operations = 'docs/operations.md';
	const text = read(operations) ?? '';
	const sources = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', 'packages/mvm/src/*.ts'], {
		encoding: 'utf8',
	})
		.split('\n')
		.filter((path) => path !== '' && !path.endsWith('.test.ts'));
	problems.push(
		...checkSettings(operations, text, read('packages/mvm/src/platform/config.ts') ?? ''),
		...checkVariables(
			operations,
			text,
			sources.map((path) => read(path) ?? ''),
		),
		...checkMetrics(operations, text, read('packages/mvm/src/platform/metrics.ts') ?? ''),
	);
	if (read(CLI_PAGE) !== cliPage()) problems.push(`${CLI_PAGE}: not what the commands say; run node tools/cli-page.ts`);
	for (const problem of problems) process.stdout.write(`${problem}\n`);
	process.stdout.write(`${files.length} documents\n`);
	process.exit(problems.length === 0 && files.length > 0 ? 0 : 1);
}
