import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MvmError, ROUTES } from '@mvm/protocol';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { acme, type EdgeHarness, edgeHarness } from '../../../../test/support/edge-harness.ts';
import { COMMANDS } from './all-commands.ts';
import { nameOf } from './define-command.ts';
import { commandHelp, globalHelp, overview } from './help.ts';
import { runProgram } from './program.ts';

let edge: EdgeHarness;
let folder: string;
beforeAll(async () => {
	edge = await edgeHarness();
	folder = mkdtempSync(join(tmpdir(), 'mvm-cli-'));
});
afterEach(() => {
	for (const id of Object.keys(edge.handlers)) delete edge.handlers[id as keyof typeof edge.handlers];
});
afterAll(async () => {
	await edge[Symbol.asyncDispose]();
	rmSync(folder, { recursive: true, force: true });
});

interface RunOptions {
	readonly env?: Record<string, string>;
	readonly answer?: string;
	readonly signal?: AbortSignal;
	/** Told of all that was printed so far. */
	readonly onOut?: (out: string) => void;
}
async function mvm(line: string, options: RunOptions = {}) {
	let out = '';
	const said: string[] = [];
	const questions: string[] = [];
	const { answer } = options;
	const exitCode = await runProgram(COMMANDS, line.split(' ').filter(Boolean), {
		io: {
			out: (text) => {
				out += text;
				options.onOut?.(out);
			},
			say: (text) => void said.push(text),
			progress: () => {},
			ask:
				answer === undefined
					? undefined
					: async (question) => {
							questions.push(question);
							return answer;
						},
		},
		env: options.env ?? {},
		signal: options.signal ?? new AbortController().signal,
		adminSocket: edge.adminSocket,
	});
	return { exitCode, out, err: said.join('\n'), questions };
}

const instance = {
	id: 'i-0123abcd',
	tenant_id: 'acme',
	pool_id: 'workers',
	state: 'sleeping',
	hibernated: true,
	incarnation: 3,
	created_at: '2026-01-01T00:00:00.000Z',
	updated_at: '2026-01-01T00:00:00.000Z',
};
const instanceView = ROUTES['instance.get'].response.parse(instance);

test('help is the same as it was: the overview, the common options, and every command', async () => {
	const all = [overview(COMMANDS), globalHelp(), ...COMMANDS.map(commandHelp)].join(`${'-'.repeat(96)}\n`);
	await expect(all).toMatchFileSnapshot('golden/help.txt');
	expect((await mvm('')).out).toBe(overview(COMMANDS));
	expect((await mvm('help options')).out).toBe(globalHelp());
	for (const command of COMMANDS) {
		const { out, exitCode } = await mvm(`${nameOf(command)} --help`);
		expect(out, nameOf(command)).toBe(commandHelp(command));
		expect(exitCode).toBe(0);
	}
	expect((await mvm('tenant --help')).out).toContain('tenant secrets set');
});

test('every command is complete and every related one exists', () => {
	const names = new Set(COMMANDS.map(nameOf));
	expect(names.size).toBe(COMMANDS.length);
	for (const command of COMMANDS) {
		for (const related of command.related) expect(names, `${nameOf(command)} → ${related}`).toContain(related);
		for (const [line] of command.examples) expect(line).toContain(`mvm ${nameOf(command)}`);
	}
});

test('errors have what, why, what to try and a code, and the exit code of the registry', async () => {
	const cases: [string, MvmError | undefined, number][] = [
		[
			'tenant info ghost',
			new MvmError('TENANT_NOT_FOUND', 'there is no tenant ghost', { hint: 'mvm tenant list shows them' }),
			3,
		],
		[
			'tenant info acme',
			new MvmError('INVALID_DOCUMENT', 'two problems', {
				details: {
					problems: [
						{ path: 'a.b', message: 'is bad' },
						{ path: '', message: 'is worse' },
					],
					log: ['one', 'two'],
				},
			}),
			2,
		],
		['tenant info acme', new MvmError('QUOTA_EXCEEDED', 'no more', { details: { limit: 2, used: 2 } }), 5],
		['tenant info acme', new MvmError('TIMEOUT', 'too long'), 6],
		['tenant info acme', new MvmError('CONFLICT', 'changed'), 4],
		['tenant info NO!', undefined, 2],
		['tenant inof acme', undefined, 2],
		['nothing', undefined, 2],
		['tenant info', undefined, 2],
		['tenant info acme --bogus', undefined, 2],
		['pool info acme', undefined, 2],
		['instance wake acme/workers/i-0123abcd/x', undefined, 2],
		['instance sleep i-0123abcd --timeout soon', undefined, 2],
		['tenant list --server ftp://x', undefined, 2],
		['tenant list --server http://127.0.0.1:1', undefined, 2],
		['tenant list --socket /nonexistent/mvm.sock', undefined, 1],
		['deploy /nonexistent.toml', undefined, 3],
	];
	const texts: string[] = [];
	for (const [line, error, code] of cases) {
		edge.handlers['tenant.get'] = async () => {
			throw error ?? new Error('not reached');
		};
		const { exitCode, err, out } = await mvm(line);
		expect(out, line).toBe('');
		expect(exitCode, line).toBe(code);
		texts.push(`$ mvm ${line}\n${err.replaceAll(/ {7}trace_id: [0-9a-f]{32}\n/g, '')}\n`);
	}
	await expect(texts.join('\n')).toMatchFileSnapshot('golden/errors.txt');
});

test('--json prints exactly one JSON value, also for an error, and nothing else on standard output', async () => {
	edge.handlers['instance.get'] = async () => instanceView;
	const good = await mvm('instance info i-0123abcd --json');
	expect(JSON.parse(good.out)).toMatchObject({ id: 'i-0123abcd', tenant_id: 'acme', hibernated: true });
	expect([good.err, good.out.trimEnd().includes('\n')]).toEqual(['', false]);
	const bad = await mvm('tenant list --json');
	expect(JSON.parse(bad.out)).toMatchObject({ error: { code: 'UNSUPPORTED' } });
	expect(bad.exitCode).toBe(4);
	expect(JSON.parse((await mvm('tenant info --json')).out)).toMatchObject({ error: { code: 'USAGE' } });
	const yaml = await mvm('instance info i-0123abcd -o yaml');
	expect(parseYaml(yaml.out)).toMatchObject({ pool_id: 'workers' });
});

test('an instance is named whole or by its id, and a name that is not true is not found', async () => {
	edge.handlers['instance.get'] = async () => instanceView;
	const slept: string[] = [];
	edge.handlers['instance.sleep'] = async (_context, { params, body }) => {
		slept.push(`${params.instance} ${body.force} ${body.timeoutSecs}`);
		return { instance: instanceView, operationId: null };
	};
	expect((await mvm('instance sleep acme/workers/i-0123abcd --force --timeout 2m')).err).toBe('acme/workers/i-0123abcd sleeps.');
	expect((await mvm('instance sleep acme/other/i-0123abcd')).exitCode).toBe(3);
	expect(slept).toEqual(['i-0123abcd true 120']);
});

test('a wake says how it went and how long each step took', async () => {
	edge.handlers['instance.wake'] = async () => ({
		instance: instanceView,
		wake: {
			outcome: 'resumed',
			totalMs: 412.4,
			steps: [
				{ name: 'thaw', ms: 12 },
				{ name: 'ready', ms: 1400 },
			],
		},
	});
	const { err, out } = await mvm('instance wake i-0123abcd');
	expect(err).toBe('acme/workers/i-0123abcd is awake: resumed in 412 ms (thaw 12 ms, ready 1.40 s).');
	expect(out).toContain('sleeping (memory on disk)');
});

test('destruction wants the name typed, or --yes where nobody can be asked', async () => {
	let destroyed = 0;
	edge.handlers['tenant.destroy'] = async () => {
		destroyed += 1;
		return {};
	};
	const unasked = await mvm('tenant destroy acme');
	expect([unasked.exitCode, destroyed]).toEqual([2, 0]);
	expect(unasked.err).toContain('try:   mvm tenant destroy acme --yes');
	expect((await mvm('tenant destroy acme', { answer: 'other' })).exitCode).toBe(1);
	expect(destroyed).toBe(0);
	expect((await mvm('tenant destroy acme', { answer: 'acme' })).exitCode).toBe(0);
	expect((await mvm('tenant destroy acme --yes')).exitCode).toBe(0);
	expect(destroyed).toBe(2);
});

test('another platform is reached with --server and MVM_KEY; a key alone on the line works too', async () => {
	edge.handlers['pool.list'] = async ({ principal }) => {
		expect(principal.role).toBe('tenant_admin');
		return { items: [], next: null };
	};
	expect((await mvm('pool list acme', { env: { MVM_SERVER: edge.base, MVM_KEY: edge.keys.admin } })).out).toBe(
		'POOL  ROLE  IMAGE  WANTED  INSTANCES\n',
	);
	expect((await mvm(`pool list acme --server ${edge.base} --key ${edge.keys.user}`)).exitCode).toBe(5);
});

test('followed events are one JSON value per line until interrupted', async () => {
	const event = (id: number) => ({
		id,
		tenantId: acme,
		poolId: null,
		instanceId: null,
		kind: 'k',
		detail: {},
		traceId: null,
		at: 'now',
	});
	edge.events.push(event(1));
	edge.handlers['event.list'] = async () => ({ items: [event(1)], next: null });
	const stop = new AbortController();
	const onOut = (sofar: string): void => {
		if (sofar.split('\n').length === 2)
			edge.events.push(event(2)); // seen by the next look
		else stop.abort();
	};
	const { out } = await mvm('events --follow --json', { signal: stop.signal, onOut });
	expect(
		out
			.trimEnd()
			.split('\n')
			.map((line) => JSON.parse(line).id),
	).toEqual([1, 2]);
});

test('a broken audit chain is an answer that fails', async () => {
	edge.handlers['audit.verify'] = async () => ({
		tenantId: acme,
		ok: false,
		entries: 4,
		firstBadSeq: 5,
		reason: 'changed',
		headHash: null,
	});
	const { exitCode, out } = await mvm('audit verify acme');
	expect([exitCode, out.includes('NO')]).toEqual([1, true]);
});

const FILE = `
[tenant]
id = "acme"
[secrets]
HOOK = { file = "hook" }
[[pools]]
id = "workers"
image = "counter.image.toml"
`;
const write = (name: string, text: string, mode = 0o600): string => {
	const path = join(folder, name);
	writeFileSync(path, text);
	chmodSync(path, mode);
	return path;
};

test('a deploy reads what stands beside the file and sends it whole', async () => {
	const file = write('deploy.toml', FILE);
	write('hook', 'the secret\n', 0o644);
	write('counter.image.toml', 'name = "counter"\nkind = "dir"\ndir = "agent"\n');
	edge.handlers['deploy.apply'] = async ({ progress }, { body }) => {
		progress('building');
		expect(body.secrets).toEqual({ HOOK: 'the secret' });
		expect(body.recipes['counter.image.toml']).toMatchObject({ kind: 'dir', baseDir: folder });
		expect(body.document['tenant']).toEqual({ id: 'acme' });
		return { tenantId: acme, applied: true, changes: [{ kind: 'pool', id: 'workers', action: 'create', detail: '' }] };
	};
	const { exitCode, err, out } = await mvm(`deploy ${file}`);
	expect(exitCode).toBe(0);
	expect(err).toContain('warning: hook can be read by other users');
	expect(out).toBe('ACTION  KIND  NAME     DETAIL\ncreate  pool  workers\n');
});

test('a deploy names every problem of the file and of what it names, and sends nothing', async () => {
	const missing = await mvm(
		`deploy ${write('missing.toml', FILE.replaceAll('hook', 'no-hook').replace('counter.image', 'no.image'))}`,
	);
	expect(missing.exitCode).toBe(2);
	expect(missing.err).toContain('pools[0].image: ');
	expect(missing.err).toContain('secrets.HOOK.file: no-hook cannot be read: ENOENT');
	write('bad.image.toml', 'name = "NO"\nkind = "dir"\n');
	const recipe = await mvm(`deploy ${write('badrecipe.toml', FILE.replace('counter.image', 'bad.image'))}`);
	expect(recipe.err).toMatch(/pools\[0\]\.image → name: /);
	expect(recipe.err).toMatch(/pools\[0\]\.image → dir: /);
	const toml = await mvm(`deploy ${write('broken.toml', '[tenant\nid = ')}`);
	expect(toml.err).toMatch(/line 1, column \d+: /);
});
