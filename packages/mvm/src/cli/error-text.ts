// An error as people read it: what, why, what to try, and the code. Pure.
import { type DocumentProblem, ERRORS, isMvmError, type MvmError } from '@mvm/protocol';

/** Exit code of an interrupted command. */
export const INTERRUPTED = 130;

export function exitCodeOf(error: unknown): number {
	return isMvmError(error) ? ERRORS[error.code].exitCode : 1;
}

/** Lines for standard error. */
export function errorText(error: unknown): string {
	if (!isMvmError(error)) {
		const message = error instanceof Error ? error.message : String(error);
		return ['error: something inside the command broke', `why:   ${message}`, 'code:  INTERNAL', ''].join('\n');
	}
	const lines = [`error: ${error.message}`, `why:   ${ERRORS[error.code].meaning}`];
	for (const { path, message } of problemsOf(error))
		lines.push(`       ${path === '' ? '(the whole document)' : path}: ${message}`);
	for (const [name, value] of factsOf(error)) lines.push(`       ${name}: ${value}`);
	if (error.hint !== undefined) lines.push(`try:   ${error.hint}`);
	lines.push(`code:  ${error.code}`);
	return `${lines.join('\n')}\n`;
}

function problemsOf(error: MvmError): readonly DocumentProblem[] {
	const problems = error.details['problems'];
	return Array.isArray(problems) ? (problems as DocumentProblem[]) : [];
}

/** The details worth a line: short values, and the last lines of a log. */
function factsOf(error: MvmError): [string, string][] {
	const facts: [string, string][] = [];
	for (const [name, value] of Object.entries(error.details)) {
		if (name === 'problems') continue;
		if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') facts.push([name, String(value)]);
		else if (Array.isArray(value) && value.every((line) => typeof line === 'string'))
			facts.push([name, value.join('\n         ')]);
		else if (value !== null && value !== undefined) facts.push([name, JSON.stringify(value)]);
	}
	return facts;
}
