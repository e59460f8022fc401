// Wires the agent of one instance together and owns everything that has to end with it. Made by main.ts.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AGENT_PORT, GuestConfig } from '@mvm/protocol';
import { Activity } from './activity.ts';
import type { AdapterContext, CommandResult, MakeAdapter } from './adapter.ts';
import { killEverything, type User } from './commands/process-group.ts';
import { runCommand } from './commands/run-command.ts';
import { type Console, makeConsole } from './console.ts';
import { makeHostTime } from './host-time.ts';
import type { IdentityHolder } from './identity.ts';
import { loadIntegrations } from './integrations/load.ts';
import { Integrations } from './integrations/manager.ts';
import { makeStorage } from './integrations/storage.ts';
import { makeAgentLink } from './link/agent-link.ts';
import { openHostStreams } from './link/host-streams.ts';
import type { AgentPaths } from './options.ts';
import { type RequestDeps, serveRequest } from './requests.ts';
import { Rest } from './rest.ts';
import { Workload } from './workload/supervisor.ts';

const MIN_CHECKPOINT_MS = 10_000;

export interface AgentInput {
	readonly paths: AgentPaths;
	readonly identity: IdentityHolder;
	/** The sandbox's own environment: what the image set. */
	readonly env: Readonly<Record<string, string | undefined>>;
	readonly adapters: Readonly<Record<GuestConfig['workload']['adapter'], MakeAdapter>>;
	readonly write: (text: string) => void;
}

export interface Agent {
	readonly console: Console;
	/** Stops the workload politely, then everything else. */
	stop(): Promise<void>;
}

/** Throws when the configuration cannot be read or the agent's own sockets cannot be made. */
export async function startAgent(input: AgentInput): Promise<Agent> {
	const { paths, identity } = input;
	const time = makeHostTime();
	const console = makeConsole({ write: input.write, now: time.now });
	const { log } = console;
	const config = GuestConfig.parse(JSON.parse(readFileSync(paths.config, 'utf8')));
	const user: User | undefined = config.uids === null ? undefined : { uid: config.uids.workload, gid: config.uids.workload };
	const home = join(paths.data, 'home');
	const env = workloadEnv(input, config, home);
	let adapterEnv: Readonly<Record<string, string>> = {};
	const stopping = new AbortController();
	const running = new Set<Promise<CommandResult>>();
	const run = (
		command: readonly string[],
		options: { timeoutMs: number; signal: AbortSignal; env?: Readonly<Record<string, string>> },
	): Promise<CommandResult> => {
		const offset: Record<string, string> = time.offsetMs() === 0 ? {} : { MVM_CLOCK_OFFSET_MS: String(time.offsetMs()) };
		const signal = AbortSignal.any([options.signal, stopping.signal]);
		const result = runCommand(command, {
			user,
			cwd: '/',
			...options,
			signal,
			env: { ...env, ...offset, ...adapterEnv, ...options.env },
		});
		running.add(result);
		void result.then(() => running.delete(result));
		return result;
	};
	const context: AdapterContext = { env, readyPort: config.workload.ready?.port, paths, now: time.now, log, run };
	const adapter = input.adapters[config.workload.adapter](context);
	const activity = new Activity(time.now);
	const integrations = new Integrations(loadIntegrations(paths.dropins, config.integrations, log), {
		storage: makeStorage(join(paths.data, 'integrations'), run),
		otherDirs: [home],
		run,
		now: time.now,
		log,
		busy: (reason) => activity.begin(reason),
		checkpointTimeoutMs: Math.max(config.minRuntimePolicy.drainTimeoutSeconds * 1000, MIN_CHECKPOINT_MS),
	});
	const boot = Promise.withResolvers<boolean>();
	let isRestored = false;
	let isWatched = false;
	const watchHealth = (): void => {
		if (!isWatched) integrations.startHealth();
		isWatched = true;
	};
	const workload = new Workload({
		config: config.workload,
		user,
		env,
		cwd: '/',
		adapter,
		console,
		log,
		onReady: watchHealth,
		onNotStarted: () => boot.resolve(false),
		beforeSpawn: async (fromAdapter, signal) => {
			adapterEnv = fromAdapter;
			if (!isRestored) {
				const failed = await integrations.restore('boot', signal);
				isRestored = failed.length === 0;
				boot.resolve(isRestored);
				if (!isRestored) throw new Error(`restore of critical ${failed.join(', ')} failed`);
			}
			if (config.workload.command.length === 0) watchHealth();
		},
	});
	const rest = new Rest({
		activity,
		adapter,
		integrations,
		identity,
		time,
		log,
		booted: () => boot.promise,
		retryWorkload: () => workload.retry(),
	});
	const agentPorts = new Set(config.endpoints.map(({ guestPort }) => guestPort));
	const requests: RequestDeps = { activity, adapter, integrations, workload, rest, identity, log, agentPorts };
	mkdirSync(paths.run, { recursive: true });
	const link = makeAgentLink({
		dir: paths.link,
		identity,
		log,
		ports: new Map([[AGENT_PORT, (stream) => void serveRequest(requests, stream)]]),
	});
	const closeHostStreams = await openHostStreams({ link, runDir: paths.run, endpoints: config.endpoints, activity, log });
	// Last: whoever sees the link up finds everything else in place.
	link.start();
	workload.start();
	return {
		console,
		async stop() {
			rest.stop();
			integrations.stop();
			await workload.stop();
			// The sandbox lives as long as anything in it does: nothing stays behind.
			stopping.abort();
			await Promise.all(running);
			await killEverything(user);
			await closeHostStreams();
			await link.close();
		},
	};
}

/** What the workload and every command start with; the image's recipe has the last word. */
function workloadEnv(input: AgentInput, config: GuestConfig, home: string): Record<string, string> {
	const inherited = Object.entries(input.env).filter(
		(entry): entry is [string, string] => entry[1] !== undefined && !/^(NODE_|MVM_BOOT_FD$)/.test(entry[0]),
	);
	return {
		PATH: '/usr/local/bin:/usr/bin:/bin',
		LANG: 'C.UTF-8',
		...Object.fromEntries(inherited),
		HOME: home,
		TMPDIR: '/tmp',
		MVM_INSTANCE_ID: config.instanceId,
		MVM_POOL_ID: config.poolId,
		MVM_TENANT_ID: config.tenantId,
		MVM_SECRETS_DIR: input.paths.secrets,
		MVM_DATA_DIR: input.paths.data,
		MVM_API_SOCKET: join(input.paths.run, 'api.sock'),
		MVM_DRAIN_TIMEOUT_SECS: String(config.minRuntimePolicy.drainTimeoutSeconds),
		...config.workload.env,
	};
}
