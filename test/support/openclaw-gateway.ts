// A real OpenClaw gateway as the supervisor would run one, but without a sandbox: the example's own configuration on free ports, the
// adapter's start-up, stand-ins for Telegram and the model. For tests of the adapter against the real thing.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { type ModelStandIn, startModel } from '../../examples/stand-ins/model.ts';
import { startTelegram, type TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import type { AdapterContext, CommandResult, WorkloadAdapter } from '../../packages/guest/src/adapter.ts';
import { makeOpenclawAdapter } from '../../packages/guest/src/openclaw/adapter.ts';
import { ensureOpenClaw } from './openclaw-install.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const TOKEN = `123456789:${'A'.repeat(35)}`;
const START_MS = 120_000;

export interface RealGateway {
	readonly adapter: WorkloadAdapter;
	readonly model: ModelStandIn;
	readonly telegram: TelegramStandIn;
	readonly stateDir: string;
	readonly pid: number;
	/** Environment of the gateway process and of integration commands. */
	readonly env: Readonly<Record<string, string>>;
	/** Everything the gateway printed so far. */
	output(): string;
	/** Runs mvm-openclaw as an integration command would. */
	command(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CommandResult>;
	/** To the whole process group. */
	signal(name: NodeJS.Signals): void;
	/** Ends the gateway politely; its exit code. */
	stop(): Promise<number | null>;
	/** Ends everything and removes the folder. */
	close(): Promise<void>;
}

/** Starts it and waits until its webhook is registered. */
export async function startRealGateway(options: { modelLatencyMs?: number } = {}): Promise<RealGateway> {
	const app = await ensureOpenClaw();
	const dir = await mkdtemp(join(tmpdir(), 'mvm-oc-'));
	const [gatewayPort, hookPort] = [await freePort(), await freePort()];
	const model = await startModel({
		port: 0,
		key: 'added-by-the-host',
		...(options.modelLatencyMs === undefined ? {} : { latencyMs: options.modelLatencyMs }),
	});
	const telegram = await startTelegram({
		port: 0,
		token: TOKEN,
		route: () => new URL(`http://127.0.0.1:${hookPort}/telegram-webhook`),
		retryMs: 100,
	});
	const ownDir = join(dir, 'own');
	const secrets = join(dir, 'secrets');
	const stateDir = join(dir, 'data/integrations/openclaw/state');
	await writeSecrets(secrets);
	await mkdir(stateDir, { recursive: true, mode: 0o700 });
	const config = join(dir, 'openclaw.json');
	await writeFile(
		config,
		(await readFile(join(ROOT, 'examples/openclaw/openclaw.json'), 'utf8'))
			.replaceAll('/tmp/mvm-openclaw', ownDir)
			.replaceAll('/tmp/openclaw/', `${dir}/`)
			.replaceAll('/data/', `${dir}/data/`)
			.replaceAll('http://127.0.0.1:4010', model.url)
			.replaceAll('http://127.0.0.1:4020', telegram.url)
			.replaceAll('18789', String(gatewayPort))
			.replaceAll('8787', String(hookPort)),
	);
	const program = join(dir, 'mvm-openclaw.cjs');
	await build({
		entryPoints: [join(ROOT, 'packages/guest/src/openclaw/main.ts')],
		outfile: program,
		bundle: true,
		platform: 'node',
		format: 'cjs',
		target: 'node24',
	});
	const base = {
		PATH: [dirname(process.execPath), join(app, 'node_modules/.bin'), '/usr/bin', '/bin'].join(delimiter),
		HOME: join(dir, 'home'),
		OPENCLAW_CONFIG_PATH: config,
		OPENCLAW_CONFIG_READONLY: '1',
		OPENCLAW_STATE_DIR: stateDir,
		MVM_OPENCLAW_DIR: ownDir,
		MVM_SECRETS_DIR: secrets,
	};
	const context: AdapterContext = {
		env: base,
		readyPort: gatewayPort,
		paths: { data: join(dir, 'data'), secrets, run: dir },
		now: Date.now,
		log: () => undefined,
		run: (command, limits) => runCommand(command, { ...base, ...limits.env }, limits),
	};
	const adapter = makeOpenclawAdapter(context, { program });
	const env = { ...base, ...(await adapter.beforeStart({ signal: AbortSignal.timeout(10_000) })) };
	let output = '';
	const child = spawn('openclaw', ['gateway', 'run'], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
	for (const stream of [child.stdout, child.stderr])
		stream.on('data', (chunk: Buffer) => {
			output += chunk.toString();
		});
	const pid = child.pid ?? 0;
	const exited = new Promise<number | null>((done) => child.once('close', (code) => done(code)));
	const running = (): boolean => child.exitCode === null && child.signalCode === null;
	const signal = (name: NodeJS.Signals): void => {
		if (running()) process.kill(-pid, name);
	};
	const gateway: RealGateway = {
		adapter,
		model,
		telegram,
		stateDir,
		pid,
		env,
		output: () => output,
		command: (args, more = {}) =>
			runCommand(
				[join(ownDir, 'mvm-openclaw'), ...args],
				{ ...env, ...more },
				{ timeoutMs: 60_000, signal: AbortSignal.timeout(60_000) },
			),
		signal,
		stop: async () => {
			signal('SIGCONT');
			signal('SIGTERM');
			return exited;
		},
		close: async () => {
			signal('SIGCONT');
			signal('SIGKILL');
			await exited;
			await Promise.all([model.close(), telegram.close()]);
			await rm(dir, { recursive: true, force: true, maxRetries: 5 });
		},
	};
	try {
		await untilRegistered(telegram, child);
	} catch (error) {
		await gateway.close();
		throw new Error(`${String(error)}\n${output.slice(-4_000)}`);
	}
	return gateway;
}

async function writeSecrets(folder: string): Promise<void> {
	for (const [integration, key, value] of [
		['telegram', 'TELEGRAM_BOT_TOKEN', TOKEN],
		['openclaw', 'TELEGRAM_WEBHOOK_SECRET', 'hook-secret-for-tests'],
	] as const) {
		await mkdir(join(folder, integration), { recursive: true });
		await writeFile(join(folder, integration, key), `${value}\n`, { mode: 0o400 });
	}
}

async function untilRegistered(telegram: TelegramStandIn, child: ChildProcess): Promise<void> {
	const until = Date.now() + START_MS;
	while (telegram.webhookUrl() === null) {
		if (child.exitCode !== null) throw new Error(`the gateway ended with ${child.exitCode}`);
		if (Date.now() > until) throw new Error('the gateway did not register its webhook in time');
		await new Promise((wake) => setTimeout(wake, 50));
	}
}

async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
	const address = server.address();
	await new Promise((done) => server.close(done));
	return typeof address === 'object' && address !== null ? address.port : 0;
}

function runCommand(
	command: readonly string[],
	env: Readonly<Record<string, string>>,
	limits: { timeoutMs: number; signal: AbortSignal },
): Promise<CommandResult> {
	const started = performance.now();
	const [program = '', ...args] = command;
	const signal = AbortSignal.any([limits.signal, AbortSignal.timeout(limits.timeoutMs)]);
	const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], signal });
	let [stdout, stderr] = ['', ''];
	child.stdout.on('data', (chunk: Buffer) => {
		stdout += chunk.toString();
	});
	child.stderr.on('data', (chunk: Buffer) => {
		stderr += chunk.toString();
	});
	return new Promise((done) => {
		child.once('error', (error) => {
			stderr += error.message;
		});
		child.once('close', (code, by) =>
			done({ code, signal: by, timedOut: signal.aborted, stdout, stderr, ms: performance.now() - started }),
		);
	});
}
