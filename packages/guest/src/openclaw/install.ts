// The workload's own copy of mvm-openclaw and the token of its next gateway process, in a folder only the workload user can enter.
// OpenClaw runs secret providers only from a plain file that its own user owns and nobody else can write.
import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open, readFile, rename } from 'node:fs/promises';
import { programFile, tokenFile } from './settings.ts';

/** Puts both files in place. Refuses a folder that somebody else made: it lies in a place where everybody may make one. */
export async function install(input: { ownDir: string; program: string; token: string; node: string }): Promise<void> {
	const { ownDir } = input;
	await mkdir(ownDir, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
		if (error.code !== 'EEXIST') throw error;
	});
	const found = await lstat(ownDir);
	if (!found.isDirectory() || found.uid !== process.getuid?.()) throw new Error(`${ownDir} is not a folder of this user`);
	await chmod(ownDir, 0o700);
	const source = await readFile(input.program, 'utf8');
	const body = source.startsWith('#!') ? source.slice(source.indexOf('\n') + 1) : source;
	await replaceFile(programFile(ownDir), `#!${input.node} --disable-warning=ExperimentalWarning\n${body}`, 0o500);
	await replaceFile(tokenFile(ownDir), input.token, 0o400);
}

/** The token of the running gateway. Throws when none was installed. */
export async function readToken(ownDir: string): Promise<string> {
	try {
		return await readFile(tokenFile(ownDir), 'utf8');
	} catch (error) {
		throw new Error(`the gateway's token is not there: ${(error as Error).message}`);
	}
}

async function replaceFile(path: string, content: string, mode: number): Promise<void> {
	const temporary = `${path}.${process.pid}.tmp`;
	const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
	try {
		await file.writeFile(content);
		await file.chmod(mode);
	} finally {
		await file.close();
	}
	await rename(temporary, path);
}
