// What mvm-openclaw does: checkpoint, suspend, resume, restore, health. Each runs as the workload user beside a living gateway, prints
// one JSON line for the agent's log and says by its exit code how it went. They hold no state of their own.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EXIT } from './exit-codes.ts';
import { connectGateway, connectPatiently, type GatewayConnection, GatewayError } from './gateway-client.ts';
import { readPendingIngress } from './ingress.ts';
import { readToken } from './install.ts';
import type { Settings } from './settings.ts';
import { type Blocker, isConversation, type Prepared, prepareSuspension, resumeSuspension } from './suspension.ts';
import { findRuntime, readStateVersions, readVersions, whyTooOld, writeVersions } from './versions.ts';
import { readWork } from './work.ts';

export interface Outcome {
	readonly exitCode: number;
	/** Printed as one line on stdout; never holds a secret. */
	readonly report: Readonly<Record<string, unknown>>;
	/** One line for people on stderr when it did not go well. */
	readonly problem?: string;
}
export interface CommandOptions {
	readonly settings: Settings;
	readonly budgetMs: number;
	readonly signal: AbortSignal;
}

const CONNECT_MS = 5_000;
/** The readiness probe has to answer at once; a gateway under load may take a second. */
const PROBE_MS = 3_000;

/** Waits for turns and stored inbound events, then closes the gateway's admission and drains the rest. */
export async function suspend(options: CommandOptions): Promise<Outcome> {
	return withGateway(options, (gateway) => hold(gateway, options).then(({ outcome }) => outcome));
}

/** `suspend`, then records which versions wrote the state. What is on disk afterwards is complete once the tree is frozen. */
export async function checkpoint(options: CommandOptions): Promise<Outcome> {
	const { settings } = options;
	return withGateway(options, async (gateway) => {
		const { prepared, outcome } = await hold(gateway, options);
		if (prepared.state === 'busy') return outcome;
		try {
			await writeVersions(settings.stateDir, await readStateVersions(settings.stateDir, gateway.serverVersion, Date.now()));
		} catch (error) {
			await resumeSuspension(gateway, { suspensionId: prepared.suspensionId, signal: AbortSignal.timeout(CONNECT_MS) });
			throw error;
		}
		// Not folded into the database while the gateway has it open: the frozen tree holds both files, and SQLite reads them together.
		const walBytes = await sizeOf(join(settings.stateDir, 'state', 'openclaw.sqlite-wal'));
		return { ...outcome, report: { ...outcome.report, openclaw: gateway.serverVersion, wal_bytes: walBytes } };
	});
}

/** Opens the gateway again. Nothing held, or no gateway, is fine: a lease ends with its process or after two minutes. */
export async function resume({ settings, signal }: CommandOptions): Promise<Outcome> {
	const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]);
	try {
		const gateway = await connectGateway({ url: settings.wsUrl, token: await readToken(settings.ownDir) }, { signal: limit });
		try {
			return { exitCode: EXIT.ok, report: { resumed: await resumeSuspension(gateway, { signal: limit }) } };
		} finally {
			gateway.close();
		}
	} catch (error) {
		if (error instanceof GatewayError && error.retryable)
			return { exitCode: EXIT.ok, report: { resumed: false, why: error.message } };
		throw error;
	}
}

/** Refuses state that a newer OpenClaw wrote; then opens a gateway that was thawed. Before a cold start there is none to open. */
export async function restore(options: CommandOptions): Promise<Outcome> {
	const { settings } = options;
	const recorded = await readVersions(settings.stateDir);
	if (recorded !== null) {
		const runtime = await findRuntime(settings.path);
		if (runtime === null) return failed('there is no openclaw on PATH');
		const why = whyTooOld(recorded, runtime);
		if (why !== null)
			return { exitCode: EXIT.olderRuntime, report: { restored: false }, problem: `${why}: use that release or a newer one` };
	}
	const token = await readToken(settings.ownDir).catch(() => null);
	if (token === null) return { exitCode: EXIT.ok, report: { restored: true, resumed: false } };
	const opened = await resume(options);
	return { ...opened, report: { restored: true, ...opened.report } };
}

/** Healthy means: start-up is over and admission is open. A broken channel is told, and is its own integration's failure. */
export async function health({ settings, signal }: CommandOptions): Promise<Outcome> {
	const startup = await probe(`${settings.httpUrl}/startupz`, signal);
	const status = startup?.['status'];
	if (status !== 'started') {
		const why = startup === null ? 'the gateway does not answer' : `the gateway is ${String(status ?? 'not started')}`;
		return { exitCode: EXIT.failed, report: { healthy: false, status: status ?? null }, problem: why };
	}
	const readiness = await probe(`${settings.httpUrl}/readyz`, signal);
	return { exitCode: EXIT.ok, report: { healthy: true, status, failing: readiness?.['failing'] ?? [] } };
}

/** One channel: at least one of its accounts is configured, all of those run. Asked over the gateway's protocol. */
export async function channelHealth(options: CommandOptions, channel: string): Promise<Outcome> {
	return withGateway({ ...options, budgetMs: CONNECT_MS }, async (gateway) => {
		const status = await gateway.call('channels.status', {}, { signal: options.signal });
		const accounts = accountsOf(status, channel).filter(({ configured }) => configured === true);
		const broken = accounts.filter(({ running, connected }) => running !== true || connected === false);
		if (accounts.length > 0 && broken.length === 0)
			return { exitCode: EXIT.ok, report: { healthy: true, channel, accounts: accounts.length } };
		const why =
			accounts.length === 0 ? 'is not configured' : `does not run: ${String(broken[0]?.['lastError'] ?? 'no reason given')}`;
		return { exitCode: EXIT.failed, report: { healthy: false, channel }, problem: `the channel ${channel} ${why}` };
	});
}

function accountsOf(status: Record<string, unknown>, channel: string): Record<string, unknown>[] {
	const channels = status['channelAccounts'];
	if (typeof channels !== 'object' || channels === null) return [];
	const accounts: unknown = new Map(Object.entries(channels)).get(channel);
	return Array.isArray(accounts) ? (accounts as Record<string, unknown>[]) : [];
}

/** Only the look into the database: for the agent, which may not read the workload's files. */
export async function pending({ settings }: CommandOptions): Promise<Outcome> {
	const blockers = readPendingIngress(settings.stateDir);
	return { exitCode: blockers.length === 0 ? EXIT.ok : EXIT.busy, report: { blockers } };
}

async function withGateway(options: CommandOptions, use: (gateway: GatewayConnection) => Promise<Outcome>): Promise<Outcome> {
	const { settings } = options;
	// A gateway that is still starting gets part of the budget; none at all fails soon.
	const limit = AbortSignal.any([options.signal, AbortSignal.timeout(Math.max(options.budgetMs, CONNECT_MS))]);
	const gateway = await connectPatiently({ url: settings.wsUrl, token: await readToken(settings.ownDir) }, { signal: limit });
	try {
		return await use(gateway);
	} finally {
		gateway.close();
	}
}

async function hold(
	gateway: GatewayConnection,
	{ settings, budgetMs, signal }: CommandOptions,
): Promise<{ prepared: Prepared; outcome: Outcome }> {
	const conversations = async (limits: { signal: AbortSignal }): Promise<readonly Blocker[]> => [
		...(await readSettledIngress(settings.stateDir, limits.signal)),
		...(await readWork(gateway, limits)).filter(isConversation),
	];
	const prepared = await prepareSuspension(gateway, { budgetMs, conversations, signal });
	if (prepared.state === 'ready') {
		const report = { suspended: true, suspension_id: prepared.suspensionId, expires_at_ms: prepared.expiresAtMs };
		return { prepared, outcome: { exitCode: EXIT.ok, report } };
	}
	const problem = `busy: ${prepared.blockers.map(({ message, kind }) => message || kind).join('; ')}`;
	return { prepared, outcome: { exitCode: EXIT.busy, report: { suspended: false, blockers: prepared.blockers }, problem } };
}

/** A writer may hold the database for a moment; only what stays unknown after a second look counts. */
async function readSettledIngress(stateDir: string, signal: AbortSignal): Promise<Blocker[]> {
	const first = readPendingIngress(stateDir);
	if (!first.some(({ kind }) => kind === 'ingress-unknown')) return first;
	await delay(100, undefined, { signal });
	return readPendingIngress(stateDir);
}

async function probe(url: string, signal: AbortSignal): Promise<Record<string, unknown> | null> {
	try {
		const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(PROBE_MS)]) });
		return (await response.json()) as Record<string, unknown>;
	} catch {
		return null;
	}
}

const failed = (problem: string): Outcome => ({ exitCode: EXIT.failed, report: {}, problem });

async function sizeOf(path: string): Promise<number> {
	return stat(path).then(
		(found) => found.size,
		() => 0,
	);
}
