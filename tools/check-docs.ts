// Documentation guards: every relative link points at a file, every `make` target and npm script named in a document exists.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { encoding: 'utf8' })
	.split('\n')
	.filter(existsSync);
const makefile = readFileSync('Makefile', 'utf8');
const scripts = (JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }).scripts;
const problems: string[] = [];
for (const file of files) {
	const text = readFileSync(file, 'utf8');
	for (const [, target] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
		if (target !== undefined && !/^[a-z]+:/.test(target) && !existsSync(join(dirname(file), target)))
			problems.push(`${file}: no such file: ${target}`);
	}
	for (const [, target] of text.matchAll(/`make ([a-z]+)/g)) {
		if (target !== undefined && !new RegExp(`^${target}:`, 'm').test(makefile))
			problems.push(`${file}: no make target: ${target}`);
	}
	for (const [, script] of text.matchAll(/`npm run ([a-z:]+)/g)) {
		if (script !== undefined && !(script in scripts)) problems.push(`${file}: no npm script: ${script}`);
	}
}
for (const problem of problems) process.stdout.write(`${problem}\n`);
process.stdout.write(`${files.length} documents\n`);
process.exit(problems.length === 0 && files.length > 0 ? 0 : 1);
