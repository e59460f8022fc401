import { describe, expect, it } from 'vitest';
import {
	ArtifactReport,
	defaultRuntimePolicy,
	GuestConfig,
	ImageRecipe,
	IntegrationEntry,
	IntegrationManifest,
	IntegrationStateReport,
	IntegrationStatus,
	integrationCheckpointPath,
	integrationStateDir,
	keysInScope,
	PoolSpec,
	Quotas,
	RuntimePolicy,
	SecretScope,
	SleepPolicy,
	WAKE_OUTCOMES,
	Workload,
} from '../index.ts';

const paths = (result: { ok: boolean; problems?: readonly { path: string }[] }) => result.problems?.map((p) => p.path) ?? [];

describe('defaults', () => {
	it('are the numbers of the reference', () => {
		expect(RuntimePolicy.encode(RuntimePolicy.parse({}))).toEqual({
			min_running_seconds: 60,
			min_warm_seconds: 30,
			drain_timeout_seconds: 30,
			graceful_shutdown_seconds: 15,
		});
		expect(Quotas.encode(Quotas.parse({}))).toEqual({
			max_vcpus: 16,
			max_mem_mib: 32_768,
			max_running: 8,
			max_warm: 4,
			max_pools: 4,
			max_instances_per_pool: 16,
			max_disk_gib: 100,
		});
		expect(SleepPolicy.encode(SleepPolicy.parse({}))).toEqual({
			warm_threshold_secs: 300,
			sleep_threshold_secs: 900,
			cpu_threshold: 5,
			net_bytes_threshold: 1024,
			resume: 'warm',
		});
	});
	it('give OpenClaw the time it needs to drain', () => {
		expect(defaultRuntimePolicy('worker')).toEqual(RuntimePolicy.parse({}));
		expect(defaultRuntimePolicy('capability-openclaw')).toEqual({
			minRunningSeconds: 300,
			minWarmSeconds: 120,
			drainTimeoutSeconds: 330,
			gracefulShutdownSeconds: 330,
		});
	});
	it('make a pool of nothing but an id', () => {
		expect(PoolSpec.parse({ id: 'a' })).toMatchObject({
			role: 'worker',
			driver: 'process',
			desired: { running: 0, warm: 0, sleeping: 0 },
		});
	});
	it('hold for the oldest guest configuration', () => {
		const oldest = {
			instance_id: 'i-00000001',
			pool_id: 'p',
			tenant_id: 't',
			guest_ip: '10.240.3.5',
			vcpus: 2,
			mem_mib: 1024,
			min_runtime_policy: {},
		};
		expect(GuestConfig.parse(oldest)).toMatchObject({
			guestIp: '10.240.3.5',
			integrations: [],
			workload: { adapter: 'none', command: [] },
			endpoints: [],
			uids: null,
			dev: false,
		});
	});
	it('name the wake outcomes', () => expect(WAKE_OUTCOMES).toEqual(['resumed', 'restored', 'cold-boot', 'already-running']));
});

describe('integrations', () => {
	it('live in folders of their own', () => {
		expect(integrationStateDir('whatsapp')).toBe('/data/integrations/whatsapp/state');
		expect(integrationCheckpointPath('telegram')).toBe('/data/integrations/telegram/checkpoint');
	});
	it.each(['../../etc', 'a/b', '.', '', 'Whats', '-x'])('are not named %j', (name) => {
		expect(paths(IntegrationEntry.safeParse({ name }))).toEqual(['name']);
	});
	it('take an older manifest, and an empty one', () => {
		expect(IntegrationManifest.parse({ integrations: [{ name: 'signal' }] }).integrations[0]).toEqual({
			name: 'signal',
			checkpointCmd: null,
			restoreCmd: null,
			critical: false,
			healthCmd: null,
			healthIntervalSecs: 30,
			healthTimeoutSecs: 10,
		});
		expect(IntegrationManifest.parse({})).toEqual({ integrations: [] });
	});
	it('report a state of another version as pending', () => {
		expect(IntegrationStatus.safeParse('asleep').ok).toBe(false);
		expect(IntegrationStateReport.parse({ name: 'x', status: 'asleep' }).status).toBe('pending');
	});
});

describe('secrets', () => {
	it.each(['A', 'TELEGRAM_BOT_TOKEN', 'K1'])('may be named %s', (key) =>
		expect(SecretScope.parse({ integration: 'a', keys: [key] }).keys).toEqual([key]),
	);
	it.each(['a', '_A', '1A', 'A-B', 'A/B', '..', ''])('may not be named %j', (key) =>
		expect(paths(SecretScope.safeParse({ integration: 'a', keys: [key] }))).toEqual(['keys[0]']),
	);
	it('are granted by name, or all by an empty list', () => {
		expect(keysInScope(SecretScope.parse({ integration: 'a', keys: ['B', 'C'] }), ['A', 'B'])).toEqual(['B']);
		expect(keysInScope(SecretScope.parse({ integration: 'a' }), ['A', 'B'])).toEqual(['A', 'B']);
	});
});

describe('a pool', () => {
	const endpoint = (more: object) => ({ id: 'a', endpoints: [{ name: 'm', guest_port: 4010, upstream: 'https://x', ...more }] });
	const inPath = { credential: { secret: 'K', as: 'path' } };
	it('wants a name for a header or query credential, and only there', () => {
		for (const as of ['header', 'query']) {
			expect(paths(PoolSpec.safeParse(endpoint({ credential: { secret: 'K', as } })))).toEqual(['endpoints[0].credential.name']);
			expect(PoolSpec.safeParse(endpoint({ credential: { secret: 'K', as, name: 'x-key' } })).ok).toBe(true);
		}
		for (const as of ['bearer', 'basic']) {
			expect(PoolSpec.safeParse(endpoint({ credential: { secret: 'K', as } })).ok).toBe(true);
			expect(PoolSpec.safeParse(endpoint({ credential: { secret: 'K', as, name: 'x' } })).ok).toBe(false);
		}
	});
	it.each([
		'ftp://x',
		'https://user:pw@x',
		'https://x?a=1',
		'x.example',
		'https://',
		'file:///etc/passwd',
		'tcp://db',
		'tcp://db:1/x',
		'https://a b',
		'https://x/\\..',
		'https://[x]',
	])('has no upstream %s', (upstream) =>
		expect(paths(PoolSpec.safeParse(endpoint({ upstream })))).toEqual(['endpoints[0].upstream']),
	);
	it.each(['https://api.example.com/v1', 'http://127.0.0.1:4000', 'https://[::1]:8443/x', 'tcp://db.internal:5432'])(
		'may have the upstream %s',
		(upstream) => expect(paths(PoolSpec.safeParse(endpoint({ upstream })))).toEqual([]),
	);
	it('says in the upstream where a credential in the path goes', () => {
		expect(paths(PoolSpec.safeParse(endpoint({ ...inPath, upstream: 'https://x/bot{credential}' })))).toEqual([]);
		expect(paths(PoolSpec.safeParse(endpoint(inPath)))).toEqual(['endpoints[0].upstream']);
		expect(paths(PoolSpec.safeParse(endpoint({ upstream: 'https://x/bot{credential}' })))).toEqual(['endpoints[0].upstream']);
		expect(paths(PoolSpec.safeParse(endpoint({ upstream: 'tcp://x:1', credential: { secret: 'K', as: 'bearer' } })))).toEqual([
			'endpoints[0].credential',
		]);
	});
	it('opens no privileged port', () =>
		expect(paths(PoolSpec.safeParse(endpoint({ guest_port: 80 })))).toEqual(['endpoints[0].guest_port']));
	it('keeps executors within their own maximum', () =>
		expect(paths(PoolSpec.safeParse({ id: 'a', executors: [{ agent_type: 'main', command: ['x'], min: 3, max: 2 }] }))).toEqual([
			'executors[0].min',
		]));
});

describe('an image recipe', () => {
	const npm = { name: 'x', kind: 'npm', packages: ['openclaw@2026.9.6'] };
	it.each(['openclaw', 'openclaw@latest', 'openclaw@^1.0.0', '../x@1.0.0', 'a b@1.0.0', '-flag@1.0.0', 'git+ssh://x@1.0.0'])(
		'pins versions: not %s',
		(spec) => expect(paths(ImageRecipe.safeParse({ ...npm, packages: [spec] }))).toEqual(['packages[0]']),
	);
	it('takes scoped packages and pre-releases', () => {
		expect(ImageRecipe.safeParse({ ...npm, packages: ['@scope/pkg@1.2.3-beta.1'] }).ok).toBe(true);
	});
	it('stays inside its folders', () => {
		expect(ImageRecipe.safeParse({ ...npm, files: { '/opt/x': '../secret' } }).ok).toBe(false);
		expect(ImageRecipe.safeParse({ ...npm, files: { '/opt/x': '/etc/passwd' } }).ok).toBe(false);
		expect(ImageRecipe.safeParse({ ...npm, files: { '/opt/../etc/x': 'x' } }).ok).toBe(false);
		expect(ImageRecipe.safeParse({ ...npm, files: { 'opt/x': 'x' } }).ok).toBe(false);
		expect(ImageRecipe.safeParse({ ...npm, files: { '/opt/x': 'a\n/../../x' } }).ok).toBe(false);
		expect(ImageRecipe.safeParse({ name: 'x', kind: 'dir', dir: 'app' }).ok).toBe(true);
	});
	it('keeps environment names as they are', () => {
		expect(Workload.parse({ env: { OPENCLAW_STATE_DIR: '/data', snake_case: '1' } }).env).toEqual({
			OPENCLAW_STATE_DIR: '/data',
			snake_case: '1',
		});
	});
});

describe('a configuration of a newer host', () => {
	it('is read by an older guest', () => {
		const newer = {
			instance_id: 'i-00000001',
			pool_id: 'p',
			tenant_id: 't',
			vcpus: 1,
			mem_mib: 64,
			min_runtime_policy: { min_running_seconds: 1, max_running_seconds: 9 },
			workload: { command: ['x'], ready: { port: 1, tls: true }, nice: 3 },
			uids: { workload: 1000, executor_base: 2001, broker: 3000 },
		};
		expect(GuestConfig.parse(newer)).toMatchObject({
			minRuntimePolicy: { minRunningSeconds: 1 },
			workload: { command: ['x'], ready: { port: 1 } },
			uids: { workload: 1000, executorBase: 2001 },
		});
	});
});

describe('an artifact report', () => {
	it('says what was made, not where it is', () => {
		const report = { name: 'reply.png', kind: 'image', bytes: 7, sha256: 'b'.repeat(64) };
		expect(ArtifactReport.encode(ArtifactReport.parse({ ...report, path: '/etc/passwd' }))).toEqual(report);
		expect(ArtifactReport.safeParse({ ...report, sha256: 'B'.repeat(64) }).ok).toBe(false);
	});
});
