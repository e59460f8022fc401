// Turns our sources into plain JavaScript for the staged copy. Node could strip the types itself at every start, but then each
// long-lived process would carry the stripper: some 30 MB, and a slower start. Called by stage.ts.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { filesBelow } from './stage-tree.ts';

/** Static and dynamic imports of relative sources, as esbuild prints them. */
const RELATIVE = /((?:\bfrom|\bimport)\s*\(?\s*"\.[^"\n]*)\.ts"/g;

/** Writes every `.ts` below `from` as `.js` to the same place below `to`, whose folders exist. */
export async function compileTree(from: string, to: string, skip: (name: string) => boolean): Promise<void> {
	const { transform } = await import('esbuild');
	const compile = async (path: string): Promise<void> => {
		const { code } = await transform(readFileSync(join(from, path), 'utf8'), {
			loader: 'ts',
			format: 'esm',
			target: 'node24',
			sourcefile: path,
			tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
		});
		writeFileSync(join(to, path.replace(/\.ts$/, '.js')), code.replace(RELATIVE, '$1.js"'), { mode: 0o644 });
	};
	await Promise.all(
		filesBelow(from, skip)
			.filter((path) => path.endsWith('.ts'))
			.map(compile),
	);
}

/** A package's manifest whose entries name the compiled files. */
export function manifestOf(text: string): string {
	return text.replaceAll(/("\.\/src\/[^"]*)\.ts"/g, '$1.js"');
}
