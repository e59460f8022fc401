import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ERRORS, type ErrorCode, fromProblem, isErrorCode, isMvmError, MvmError, toProblem } from '../index.ts';

describe('the registry', () => {
	it('is the list of docs/errors.md, row by row', () => {
		const documented = readFileSync(new URL('../../../../docs/errors.md', import.meta.url), 'utf8')
			.split('\n')
			.filter((line) => /^\| [A-Z_]+ \|/.test(line));
		const registered = Object.entries(ERRORS).map(
			([code, e]) => `| ${code} | ${e.meaning} | ${e.httpStatus} | ${e.exitCode} | ${e.whose} | ${e.retryable ? 'yes' : 'no'} |`,
		);
		expect(registered.length).toBeGreaterThan(50);
		expect([...documented].sort()).toEqual([...registered].sort());
	});

	it.each(Object.entries(ERRORS))('%s agrees with itself', (code, entry) => {
		expect(code).toMatch(/^[A-Z][A-Z0-9_]*$/);
		expect(entry.meaning).toMatch(/^[A-Z].*\.$/);
		expect(entry.httpStatus).toBeGreaterThanOrEqual(400);
		expect(entry.httpStatus).toBeLessThan(600);
		if (code.endsWith('_NOT_FOUND')) expect([entry.httpStatus, entry.exitCode]).toEqual([404, 3]);
		if (entry.exitCode === 6) expect(entry.httpStatus).toBe(504);
	});

	it('does not take inherited names for codes', () => {
		expect(isErrorCode('toString')).toBe(false);
		expect(isErrorCode('NOT_FOUND')).toBe(true);
	});
});

describe('an error', () => {
	const error = new MvmError('INSTANCE_NOT_FOUND', 'no instance i-00000000', {
		details: { id: 'i-00000000' },
		hint: 'list them',
	});

	it('is told by its code', () => {
		expect(isMvmError(error)).toBe(true);
		expect(isMvmError(error, 'INSTANCE_NOT_FOUND')).toBe(true);
		expect(isMvmError(error, 'NOT_FOUND')).toBe(false);
		expect(isMvmError(new Error('x'))).toBe(false);
		expect(error.entry.exitCode).toBe(3);
	});

	it('is known across copies of the package', () => {
		expect(isMvmError(Object.assign(new Error('x'), { name: 'MvmError', code: 'NOT_FOUND' }), 'NOT_FOUND')).toBe(true);
		expect(isMvmError(Object.assign(new Error('x'), { name: 'MvmError', code: 'NO_SUCH_CODE' }))).toBe(false);
	});

	it('crosses the wire whole', () => {
		const back = fromProblem(JSON.parse(JSON.stringify(toProblem(error, { traceId: 'abc' }))));
		expect(back).toMatchObject({ code: error.code, message: error.message, hint: error.hint });
		expect(back.details).toEqual({ id: 'i-00000000', trace_id: 'abc' });
	});

	it('survives the wire for every code', () => {
		for (const code of Object.keys(ERRORS) as ErrorCode[])
			expect(fromProblem(toProblem(new MvmError(code, 'it failed'))).code).toBe(code);
	});

	it('shows neither its cause nor an unexpected error to the other side', () => {
		const wrapped = new MvmError('WAKE_FAILED', 'it did not wake', { cause: new Error('password=hunter2') });
		expect(JSON.stringify(toProblem(wrapped))).not.toContain('hunter2');
		expect(toProblem(new Error('password=hunter2'))).toMatchObject({ code: 'INTERNAL', status: 500 });
		expect(JSON.stringify(toProblem(new Error('password=hunter2')))).not.toContain('hunter2');
	});

	it('of a newer server stays readable', () => {
		const problem = { ...toProblem(error), code: 'FROM_THE_FUTURE', status: 418 };
		expect(fromProblem(problem)).toMatchObject({
			code: 'INTERNAL',
			message: error.message,
			details: { remote_code: 'FROM_THE_FUTURE', status: 418 },
		});
		expect(fromProblem('<html>', 502)).toMatchObject({ code: 'INTERNAL', details: { status: 502 } });
	});
});
