// Reads a deploy file and everything it names from the disk: the TOML, the recipes beside it, the values of its secrets.
// Judges all of it before anything is sent, so that every problem is told at once. Used by deploy and image build.
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type DocumentProblem, ImageRecipe, MvmError, parseDeployFile } from '@mvm/protocol';
import { parse as parseToml, TomlError } from 'smol-toml';

export interface DeployFolder {
	/** As in the file, not changed. */
	readonly document: Readonly<Record<string, unknown>>;
	readonly tenantId: string;
	/** `tenant/pool` names. */
	readonly pools: readonly string[];
	readonly recipes: Readonly<Record<string, ImageRecipe>>;
	readonly secrets: Readonly<Record<string, string>>;
	/** What is allowed and yet should be known, such as a secret file that others can read. */
	readonly warnings: readonly string[];
}

/** Throws INVALID_DOCUMENT with every problem, each with its path in the file. */
export async function readDeployFolder(path: string): Promise<DeployFolder> {
	const document = await readToml(path);
	const parsed = parseDeployFile(document);
	if (!parsed.ok) throw invalid(path, parsed.problems);
	const folder = dirname(resolve(path));
	const problems: DocumentProblem[] = [];
	const warnings: string[] = [];
	const recipes: Record<string, ImageRecipe> = {};
	for (const [at, { image }] of parsed.value.pools.entries()) {
		if (image === null || !image.endsWith('.toml') || recipes[image] !== undefined) continue;
		try {
			recipes[image] = await readRecipe(resolve(folder, image));
		} catch (error) {
			problems.push(...problemsOf(error, `pools[${at}].image`));
		}
	}
	const secrets: Record<string, string> = {};
	for (const [name, { file }] of Object.entries(parsed.value.secrets)) {
		const secretPath = resolve(folder, file);
		try {
			if (((await stat(secretPath)).mode & 0o077) !== 0) warnings.push(`${file} can be read by other users: chmod 600 ${file}`);
			secrets[name] = (await readFile(secretPath, 'utf8')).replace(/\r?\n$/, '');
			if (secrets[name] === '') problems.push({ path: `secrets.${name}.file`, message: `${file} is empty` });
		} catch (error) {
			problems.push({
				path: `secrets.${name}.file`,
				message: `${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`,
			});
		}
	}
	if (problems.length > 0) throw invalid(path, problems);
	const { tenant, pools } = parsed.value;
	return { document, tenantId: tenant.id, pools: pools.map((pool) => `${tenant.id}/${pool.id}`), recipes, secrets, warnings };
}

/** A recipe with the folder its relative paths start from. Throws INVALID_DOCUMENT. */
export async function readRecipe(path: string): Promise<ImageRecipe> {
	const document = await readToml(path);
	const parsed = ImageRecipe.safeParse({ ...document, base_dir: dirname(resolve(path)) });
	if (!parsed.ok) throw invalid(path, parsed.problems);
	return parsed.value;
}

async function readToml(path: string): Promise<Record<string, unknown>> {
	let text: string;
	try {
		text = await readFile(path, 'utf8');
	} catch (cause) {
		throw new MvmError('NOT_FOUND', `${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause });
	}
	try {
		return parseToml(text);
	} catch (cause) {
		if (!(cause instanceof TomlError)) throw cause;
		const message = cause.message.split('\n', 1)[0] ?? '';
		throw invalid(path, [
			{ path: `line ${cause.line}, column ${cause.column}`, message: message.replace(/^Invalid TOML document: /, '') },
		]);
	}
}

function problemsOf(error: unknown, path: string): DocumentProblem[] {
	if (!(error instanceof MvmError)) throw error;
	const inner = error.details['problems'];
	if (!Array.isArray(inner)) return [{ path, message: error.message }];
	return (inner as DocumentProblem[]).map((problem) => ({ path: `${path} → ${problem.path}`, message: problem.message }));
}

function invalid(path: string, problems: readonly DocumentProblem[]): MvmError {
	const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
	return new MvmError('INVALID_DOCUMENT', `${path} has ${count}`, { details: { problems }, hint: 'nothing was changed' });
}
