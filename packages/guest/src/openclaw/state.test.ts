// What the adapter reads and writes on disk: secrets in scope only, pending events under a known schema, versions.
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readPendingIngress } from './ingress.ts';
import { install, readToken } from './install.ts';
import { resolveSecrets } from './secrets.ts';
import { readSettings, type Settings } from './settings.ts';
import { compareReleases, findRuntime, readStateVersions, readVersions, whyTooOld, writeVersions } from './versions.ts';

let dir: string;
let settings: Settings;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), 'mvm-ocs-'));
	settings = readSettings({
		OPENCLAW_STATE_DIR: join(dir, 'integrations/openclaw/state'),
		MVM_OPENCLAW_DIR: join(dir, 'own'),
		MVM_SECRETS_DIR: join(dir, 'secrets'),
	});
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function put(path: string, content: string): Promise<void> {
	await mkdir(dirname(join(dir, path)), { recursive: true });
	await writeFile(join(dir, path), content);
}
const ask = (integration: string, ids: unknown, protocolVersion = 1): ReturnType<typeof resolveSecrets> =>
	resolveSecrets({ integration, question: JSON.stringify({ protocolVersion, provider: integration, ids }), settings });

describe('the secret provider', () => {
	beforeEach(async () => {
		await put('secrets/telegram/BOT_TOKEN', '123:abc\n');
		await put('secrets/slack/TOKEN', 'other');
		await put('secrets/telegram/EMPTY', '');
		await symlink('../slack/TOKEN', join(dir, 'secrets/telegram/LINK'));
		await mkdir(join(dir, 'secrets/telegram/FOLDER'));
	});

	test('gives what is in the folder of its integration, without the last line end', async () => {
		expect(await ask('telegram', ['BOT_TOKEN', 'telegram/BOT_TOKEN', 'EMPTY'])).toEqual({
			protocolVersion: 1,
			values: { BOT_TOKEN: '123:abc', 'telegram/BOT_TOKEN': '123:abc', EMPTY: '' },
			errors: {},
		});
	});

	test.each(['TOKEN', 'slack/TOKEN', '../slack/TOKEN', 'telegram/../slack/TOKEN', 'LINK', 'FOLDER', '', '.', 'BOT_TOKEN\0'])(
		'does not find %j',
		async (id) => {
			const answer = await ask('telegram', [id]);
			expect(answer.values).toEqual({});
			expect(answer.errors[id]).toMatchObject({ code: 'NOT_FOUND' });
		},
	);

	test('refuses other versions, strange questions and names that are none', async () => {
		await expect(ask('telegram', ['BOT_TOKEN'], 2)).rejects.toThrow('version 2');
		await expect(ask('telegram', 'BOT_TOKEN')).rejects.toThrow('ids');
		await expect(ask('../telegram', ['BOT_TOKEN'])).rejects.toThrow('not a name');
		await expect(resolveSecrets({ integration: 'telegram', question: 'null', settings })).rejects.toThrow('version');
	});

	test('gives the gateway its token and nothing else', async () => {
		await put('program.cjs', "#!/usr/bin/env node\nconsole.log('hello');\n");
		const input = { ownDir: settings.ownDir, program: join(dir, 'program.cjs'), node: process.execPath };
		await install({ ...input, token: 'first' });
		await install({ ...input, token: 'second' });
		expect(await readToken(settings.ownDir)).toBe('second');
		const answer = await ask('gateway', ['TOKEN', 'BOT_TOKEN', 'mvm-openclaw']);
		expect(answer.values).toEqual({ TOKEN: 'second' });
		expect(Object.keys(answer.errors)).toEqual(['BOT_TOKEN', 'mvm-openclaw']);
	});
});

describe('pending ingress', () => {
	const database = async (schema: number, statuses: readonly string[]): Promise<void> => {
		await mkdir(join(settings.stateDir, 'state'), { recursive: true });
		const db = new DatabaseSync(join(settings.stateDir, 'state/openclaw.sqlite'));
		db.exec(`pragma journal_mode = wal; pragma user_version = ${schema};
			create table channel_ingress_events (channel_id text, event_id text, status text)`);
		for (const [at, status] of statuses.entries())
			db.prepare('insert into channel_ingress_events values (?, ?, ?)').run('telegram', String(at), status);
		db.close();
	};

	test('is none without a database and when all is done', async () => {
		expect(readPendingIngress(settings.stateDir)).toEqual([]);
		await database(18, ['completed', 'failed']);
		expect(readPendingIngress(settings.stateDir)).toEqual([]);
	});

	test('counts what is not finished, in states unknown today too', async () => {
		await database(18, ['pending', 'claimed', 'completed', 'some-new-state']);
		expect(readPendingIngress(settings.stateDir)).toEqual([
			{ kind: 'ingress-pending', count: 3, message: '3 stored events of telegram are not answered yet' },
		]);
	});

	test('counts as busy under an unknown schema, without its table, or when it is no database', async () => {
		await database(19, []);
		expect(readPendingIngress(settings.stateDir)).toMatchObject([
			{ kind: 'ingress-unknown', message: expect.stringContaining('schema 19') },
		]);
		await rm(settings.stateDir, { recursive: true });
		await put('integrations/openclaw/state/state/openclaw.sqlite', 'this is not a database at all, not even close to one');
		expect(readPendingIngress(settings.stateDir)).toMatchObject([{ kind: 'ingress-unknown' }]);
	});
});

describe('versions', () => {
	test('are written beside the state and read back', async () => {
		await mkdir(settings.stateDir, { recursive: true });
		expect(await readVersions(settings.stateDir)).toBeNull();
		const versions = await readStateVersions(settings.stateDir, '2026.9.6', 0);
		expect(versions).toMatchObject({ stateSchema: null, agentSchema: null, recordedAt: '1970-01-01T00:00:00.000Z' });
		await writeVersions(settings.stateDir, { ...versions, stateSchema: 18 });
		expect(await readVersions(settings.stateDir)).toEqual({ ...versions, stateSchema: 18 });
	});

	test('refuse an older runtime and one that reads older schemas', () => {
		const recorded = { openclaw: '2026.9.6', node: '24.21.0', stateSchema: 18, agentSchema: 23, recordedAt: '' };
		const runtime = { openclaw: '2026.9.6', stateSchema: 18, agentSchema: 23 };
		expect(whyTooOld(recorded, runtime)).toBeNull();
		expect(whyTooOld(recorded, { ...runtime, openclaw: '2026.10.1', stateSchema: 20 })).toBeNull();
		expect(whyTooOld(recorded, { ...runtime, openclaw: '2026.9.5' })).toContain('2026.9.5');
		expect(whyTooOld(recorded, { ...runtime, stateSchema: 17 })).toContain('shared');
		expect(whyTooOld(recorded, { ...runtime, agentSchema: 22 })).toContain('agent');
		expect(whyTooOld(recorded, { openclaw: '2026.9.7', stateSchema: undefined, agentSchema: undefined })).toBeNull();
	});

	test('are ordered as releases are', () => {
		const ordered = ['2025.12.31', '2026.9.6-beta.2', '2026.9.6-beta.10', '2026.9.6', '2026.9.6-1', '2026.9.10', '2026.10.0'];
		for (const [at, a] of ordered.entries())
			for (const [to, b] of ordered.entries()) expect(Math.sign(compareReleases(a, b))).toBe(Math.sign(at - to));
	});

	test('of a runtime come from the package that openclaw on PATH leads to', async () => {
		await put(
			'pkg/package.json',
			JSON.stringify({ name: 'openclaw', version: '2026.9.6', openclaw: { schemaVersions: { state: 18 } } }),
		);
		await put('pkg/openclaw.mjs', '');
		await mkdir(join(dir, 'bin'));
		await symlink('../pkg/openclaw.mjs', join(dir, 'bin/openclaw'));
		expect(await findRuntime(`/nowhere:${join(dir, 'bin')}`)).toEqual({
			openclaw: '2026.9.6',
			stateSchema: 18,
			agentSchema: undefined,
		});
		expect(await findRuntime('/nowhere')).toBeNull();
	});
});
