// Repository rules that no linter knows. Each rule is a pure function over one file; tools/check-rules.test.ts shows each one fail.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

export interface Finding {
	readonly path: string;
	readonly line: number;
	readonly message: string;
}
interface Rule {
	readonly applies: (path: string) => boolean;
	readonly pattern: RegExp;
	readonly message: string;
}

const isTest = (path: string): boolean => /\.test\.ts$|^test\//.test(path);
const source = (path: string): boolean => /^packages\/[^/]+\/src\/.*\.ts$/.test(path) && !isTest(path);
const MAX_LINES = 600;

const rules: readonly Rule[] = [
	{
		applies: (p) => p.startsWith('packages/mvm/src/domain/') && !isTest(p),
		pattern: /\bDate\.now\(|new Date\(\)|Math\.random\(|performance\.now\(/,
		message: 'domain takes time and randomness as parameters',
	},
	{
		applies: (p) => p.startsWith('packages/mvm/src/') && !isTest(p) && !/\/(drivers\/clock|cli|main)\//.test(p),
		pattern: /\b(setTimeout|setInterval)\(/,
		message: 'timers belong to the clock port',
	},
	{
		applies: source,
		pattern: /\bshell: true\b|\bexecSync\(|[^.]\bexec\(/,
		message: 'no shell strings; spawn with an argument array',
	},
	{
		applies: (p) => /\.(ts|md|toml|yml)$|Makefile$/.test(p),
		pattern: /\/work\/(main|steering|wt|shared|\.library)|\.\.\/shared\//,
		message: 'no machine path in the project',
	},
	{
		applies: (p) => p.endsWith('.ts'),
		pattern: /\b(TODO|FIXME)\b(?!\(#\d+\))/,
		message: 'a marker carries an issue number: TODO(#12)',
	},
	{
		applies: (p) => p.endsWith('.ts') && isTest(p),
		pattern: /\b(it|test|describe)\.(skip|only|todo)\(/,
		message: 'no test is switched off; use skipIf with a printed reason',
	},
	{
		applies: (p) => p.endsWith('.ts') && !p.startsWith('tools/'),
		pattern: /biome-ignore (?!.*: \S)/,
		message: 'a lint exception says why',
	},
];

/** All findings of one file. */
export function checkFile(path: string, text: string): Finding[] {
	const lines = text.split('\n');
	const findings: Finding[] = [];
	if (path.endsWith('.ts') && lines.length > MAX_LINES)
		findings.push({ path, line: MAX_LINES, message: `over ${MAX_LINES} lines: split it` });
	for (const rule of rules) {
		if (!rule.applies(path) || path === 'tools/check-rules.ts' || path === 'tools/check-rules.test.ts') continue;
		lines.forEach((line, at) => {
			if (rule.pattern.test(line)) findings.push({ path, line: at + 1, message: rule.message });
		});
	}
	if (source(path) && !/^(\/\/|\/\*|#!)/.test(text))
		findings.push({ path, line: 1, message: 'starts with its role in 1-5 comment lines' });
	return findings;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
	const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
		.split('\n')
		.filter(Boolean);
	const findings: Finding[] = [];
	let seen = 0;
	for (const path of files) {
		if (!/\.(ts|md|toml|yml)$|Makefile$/.test(path)) continue;
		let text: string;
		try {
			text = readFileSync(path, 'utf8');
		} catch {
			continue; // listed by git, removed in the working tree
		}
		seen += 1;
		findings.push(...checkFile(path, text));
	}
	for (const f of findings) process.stdout.write(`${f.path}:${f.line}: ${f.message}\n`);
	process.stdout.write(`${seen} files\n`);
	process.exit(findings.length === 0 && seen > 0 ? 0 : 1);
}
