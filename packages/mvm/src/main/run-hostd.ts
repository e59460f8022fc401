// Composes mvm-hostd from its parts and runs it until it is told to end. Used by main/hostd.ts and, with a fixed image, by
// the host tests. The only thing an end does to a sandbox is nothing.
import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { type Condition, isMvmError } from '@mvm/protocol';
import { systemClock } from '../drivers/clock/system.ts';
import { holdHostdLock, listenHostd } from '../drivers/runtime/hostd-server/listen.ts';
import { makeHostdServer } from '../drivers/runtime/hostd-server/server.ts';
import { type ImageCalls, makeProcessRuntime } from '../drivers/runtime/process/driver.ts';
import { openProcessHost, type ProcessHost, type ProcessHostDeps } from '../drivers/runtime/process/host.ts';
import { maintainProcessHost } from '../drivers/runtime/process/maintain.ts';
import { recoverProcessHost, releaseMounts } from '../drivers/runtime/process/recover.ts';
import { makeSwap, type Swap } from '../drivers/runtime/process/swap.ts';
import type { Logger } from '../platform/logger.ts';
import type { Runtime } from '../ports/runtime.ts';

const DRAIN_MS = 30_000;
const REST_MS = 60_000;

export interface HostdConfig {
	readonly dataDir: string;
	readonly runDir: string;
	readonly daemon: { readonly uid: number; readonly gid: number };
	/** A staged distribution (main/stage.ts). */
	readonly dist: string;
	/** The managed swap file and host-wide switches; absent: swap is left alone. */
	readonly swap?: { readonly sizeMib: number; readonly zswap: boolean; readonly pageCluster?: number };
	/** Folder of the uid claims; only tests change it. */
	readonly claimsDir?: string;
	/** What runs in the sandboxes instead of the agent; only tests change it. */
	readonly guestCommand?: readonly string[];
}

export interface HostdImages extends ImageCalls {
	readonly resolve: ProcessHostDeps['resolveImage'];
}

export interface ImageContext {
	readonly dataDir: string;
	/** Hashes that instances of this host booted from last. */
	readonly inUse: () => readonly string[];
}

/**
 * Serves until `ended` aborts, then drains. With the reason `SIGINT` (the whole platform goes to rest, instances are asleep
 * already) mounts and the managed swap are let go too; with any other they stay for what sleeps. Throws CONFLICT when a
 * hostd of this data folder runs already.
 */
export async function runHostd(
	config: HostdConfig,
	deps: { readonly log: Logger; readonly images: (context: ImageContext) => HostdImages },
	ended: AbortSignal,
): Promise<void> {
	const { log } = deps;
	mkdirSync(config.dataDir, { recursive: true, mode: 0o711 });
	const dataDir = realpathSync(config.dataDir);
	const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 8);
	const lock = await holdHostdLock(name);
	let host: ProcessHost | undefined;
	const inUse = (): string[] => (host?.slots.all() ?? []).map(({ image }) => image).filter((image) => image !== undefined);
	const images = deps.images({ dataDir, inUse });
	host = await openProcessHost(
		{
			dataDir,
			runDir: config.runDir,
			daemon: config.daemon,
			guestDir: join(config.dist, 'guest'),
			cgroupParent: `mvm-${name}`,
			...(config.claimsDir === undefined ? {} : { claimsDir: config.claimsDir }),
			...(config.guestCommand === undefined ? {} : { guestCommand: config.guestCommand }),
		},
		{ clock: systemClock, log, resolveImage: images.resolve },
		{ signal: ended },
	);
	await recoverProcessHost(host, { signal: ended });
	const swap = config.swap === undefined ? undefined : managedSwap(dataDir, config.swap);
	await swap?.ensure({ signal: ended });
	const moreConditions = async (): Promise<readonly Condition[]> => weaknesses((await swap?.status())?.conditions ?? []);
	const runtime = withSwapOnDemand(makeProcessRuntime(host, { images, moreConditions }), swap);
	const server = makeHostdServer({ runtime, log });
	const socket = await listenHostd(server.http, { runDir: config.runDir, daemon: config.daemon, root: host.abilities.root });
	const maintenance = maintainProcessHost(host, { signal: ended });
	log.info(
		{ socket, instances: host.slots.all().length, conditions: host.abilities.conditions.map((c) => c.type) },
		'hostd serves',
	);
	if (!ended.aborted) await new Promise((resolve) => ended.addEventListener('abort', resolve, { once: true }));
	log.info('hostd drains');
	await server.drain({ signal: AbortSignal.timeout(DRAIN_MS) });
	await maintenance;
	if (ended.reason === 'SIGINT') await goToRest(host, swap, log);
	host.abilities.cgroups?.removeParents(); // those that still hold an instance stay
	lock.close();
	log.info('hostd ended');
}

/** The swap that was on at start may have been somebody else's and be gone by now: then ours is turned on, and tried once more. */
function withSwapOnDemand(runtime: Runtime, swap: Swap | undefined): Runtime {
	if (swap === undefined) return runtime;
	return {
		...runtime,
		snapshot: async (id, options) => {
			try {
				return await runtime.snapshot(id, options);
			} catch (error) {
				if (!isMvmError(error, 'SNAPSHOT_UNAVAILABLE') || (await swap.status()).state !== 'none') throw error;
				await swap.ensure(options);
				return runtime.snapshot(id, options);
			}
		},
	};
}

/** What does not let go is logged and stays as it is: nothing of it is lost, and the next start finds it. */
async function goToRest(host: ProcessHost, swap: Swap | undefined, log: Logger): Promise<void> {
	const signal = AbortSignal.timeout(REST_MS);
	await releaseMounts(host, { signal }).catch((err: unknown) => log.warn({ err }, 'some mounts stay'));
	await swap?.release({ signal }).catch((err: unknown) => log.warn({ err }, 'the managed swap stays on'));
}

function managedSwap(dataDir: string, { sizeMib, zswap, pageCluster }: NonNullable<HostdConfig['swap']>): Swap {
	// Off means "not opted in": a switch somebody else has set stays as it is.
	return makeSwap({
		dataDir,
		sizeMib,
		switches: { ...(zswap ? { zswap } : {}), ...(pageCluster === undefined ? {} : { pageCluster }) },
	});
}

/** Conditions of the host are weaknesses, true when they hold; the swap's "available" is said the other way round. */
function weaknesses(conditions: readonly Condition[]): Condition[] {
	return conditions
		.map((c) => (c.type === 'SwapAvailable' ? { ...c, type: 'NoSwap', status: !c.status } : c))
		.filter(({ status }) => status);
}
