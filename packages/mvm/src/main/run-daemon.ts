// Composes the daemon from its services and runs it until it is told to end. The only place where they meet; each gets just
// what its own deps name. Order of start: store, host daemon, recovery, delivery, reconciler, edge; the end is the reverse.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { isMvmError, parseCheckpointId } from '@mvm/protocol';
import { DirectoryBlobs } from '../drivers/blobs/directory/directory-blobs.ts';
import { systemClock as clock } from '../drivers/clock/system.ts';
import { makeHttp2UnixLinkHost } from '../drivers/link/http2-unix/link-host.ts';
import { makeHostdClient } from '../drivers/runtime/hostd-client/client.ts';
import {
	type Edge,
	HoldCounter,
	makeAuthenticate,
	makeHandlers,
	startEdge,
	storedEvents,
	storedIdempotency,
} from '../edge/index.ts';
import { Acceptor, channelsOf, Delivery, onCheckpointed, onRolledBack } from '../ingress/index.ts';
import { GuestAgent, inhibitorsNow, Lifecycle, recoverAll, watchLives } from '../lifecycle/index.ts';
import { Orchestrator } from '../orchestrator/index.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import { makeMetrics } from '../platform/metrics.ts';
import type { Paths } from '../platform/paths.ts';
import type { DialHandler } from '../ports/link.ts';
import type { Runtime, RuntimeCapabilities } from '../ports/runtime.ts';
import { Reconciler } from '../reconciler/index.ts';
import {
	appendAudit,
	appendEvent,
	CheckpointStore,
	findApiKey,
	getInstance,
	Housekeeper,
	listCheckpoints,
	listInstances,
	openMasterKey,
	readSecret,
} from '../state/index.ts';
import { checkpointView, verifiedView } from './checkpoint-view.ts';
import { readDesired } from './desired.ts';
import { keepGauges } from './gauges.ts';
import { addGuestHandlers } from './guest-streams.ts';
import { doctorReport, hostInfo } from './host-report.ts';
import { InFlight } from './in-flight.ts';
import { linkTokens } from './link-tokens.ts';
import { Pools } from './pools.ts';
import { instanceSide } from './reconcile-with-lifecycle.ts';
import { Recorder } from './recorder.ts';
import { restAll } from './rest-all.ts';
import { openStore } from './store.ts';

export interface DaemonInput {
	readonly paths: Paths;
	readonly config: Config;
	readonly databaseUrl: string | undefined;
	readonly log: Logger;
}

const VERSION = '0.1.0';
const HOSTD_WAIT_MS = 60_000;
const LINK_TIMEOUT_MS = 30_000;
const ANSWER_DEADLINE_MS = 120_000;
const STOP_MS = 30_000;
const ASK_GUEST_MS = 5_000;

/** Serves until `ended` resolves; `rest` puts every instance to rest before the end. */
export async function runDaemon(input: DaemonInput, ended: Promise<'leave' | 'rest'>): Promise<void> {
	const { paths, config, log } = input;
	const startedAtMs = clock.now();
	await using stack = new AsyncDisposableStack();
	const store = await openStore(paths, log, input.databaseUrl);
	const { db } = store;
	let ending: 'leave' | 'rest' = 'leave';
	stack.defer(async () => {
		await db.close();
		await (ending === 'rest' ? store.server?.stop() : store.server?.detach());
	});
	const runtime = makeHostdClient({ socketPath: paths.hostdSocket });
	const capabilities = await waitForHostd(runtime, log);
	const key = openMasterKey(join(paths.keys, 'master.key'));
	const blobs = new DirectoryBlobs({ root: paths.blobs, now: clock.now });
	const metrics = makeMetrics();
	const random = (bytes: number): Uint8Array => randomBytes(bytes);
	const newTraceId = (): string => randomBytes(16).toString('hex');
	const recorder = new Recorder({ db, clock, log });
	stack.defer(() => recorder.close());
	const isSingleUid = capabilities.conditions.some((c) => c.type === 'SingleUser' && c.status);
	const pools = new Pools({ db, runtime, key, isSingleUid });
	const checkpoints = new CheckpointStore({ db, blobs, runtime, clock, random, log });
	stack.use(new Housekeeper({ db, checkpoints, clock, log })).start();
	const handlers = new Map<number, DialHandler>();
	const lifecycle = new Lifecycle({
		db,
		runtime,
		links: makeHttp2UnixLinkHost({ clock, log }),
		checkpoints,
		clock,
		random,
		log,
		metrics,
		tokenFor: linkTokens(paths.keys),
		poolOf: (tenant, pool) => pools.view(tenant, pool),
		secretsOf: (pool) => pools.secretsOf(pool),
		guestConfigOf: (instance, pool) => pools.guestConfig(instance, pool),
		handlers,
		record: (entry) => recorder.record(entry),
		limits: { wakeTimeoutMs: config.limits.wakeTimeoutMs, linkTimeoutMs: LINK_TIMEOUT_MS },
	});
	stack.defer(() => lifecycle.close());
	const inFlight = new InFlight(clock.now);
	const plain = new Orchestrator({ lifecycle, suspensionOf: (tenant) => pools.suspensionOf(tenant) });
	const orchestrator = inFlight.watch(plain);
	addGuestHandlers(handlers, {
		lifecycle,
		orchestrator: plain,
		pools,
		db,
		key,
		recorder,
		inFlight,
		upstreamAllow: config.upstreamAllow,
		log,
		metrics,
		newTraceId,
	});

	const loadChannel = channelsOf({
		database: db,
		clock,
		readSecret: (tenantId, name) =>
			db.asTenant(tenantId, async (tx) => {
				try {
					return (await readSecret(tx, { tenantId, name, key })).reveal();
				} catch (error) {
					if (isMvmError(error, 'SECRET_MISSING')) return undefined;
					throw error;
				}
			}),
	});
	const delivery = new Delivery({
		database: db,
		clock,
		log,
		claim: `d-${randomBytes(8).toString('hex')}`,
		orchestrator,
		loadChannel,
		random: Math.random,
		holdDeadlineMs: config.limits.wakeTimeoutMs,
		answerDeadlineMs: ANSWER_DEADLINE_MS,
		record: async (tx, { kind, message, attempt }) => {
			const { tenantId, poolId, traceId } = message;
			const { instanceId, incarnation, wake, status, verdict } = attempt;
			const detail = {
				message_id: message.id,
				channel: message.channel,
				event_id: message.eventId,
				attempts: message.attempts,
				incarnation,
				status,
				...('error' in verdict ? { error: verdict.error } : {}),
				...(wake === undefined ? {} : { wake: wake.outcome, wake_ms: wake.totalMs }),
			};
			await appendEvent(tx, { tenantId, poolId, instanceId, kind, detail, traceId });
			if (kind !== 'ingress.dead') return;
			const target = `message/${message.id}`;
			await appendAudit(tx, {
				tenantId,
				at: new Date(clock.now()),
				actor: 'platform',
				action: kind,
				target,
				outcome: 'failed',
				detail,
				traceId,
			});
		},
		onOutcome: (outcome, attempt) => {
			metrics.deliveries.inc({ outcome });
			if (outcome === 'taken' && attempt.instanceId !== undefined) lifecycle.messageTaken(attempt.instanceId);
		},
	});
	const settle = { database: db, log, onReturned: () => delivery.poke() };
	lifecycle.onCheckpointed((event) => onCheckpointed(settle, event));
	lifecycle.onRolledBack((event) => onRolledBack(settle, event));
	// After those who must hear of what recovery settles or rolls back.
	const report = await recoverAll(lifecycle);
	log.info({ ...report, rolledBack: undefined, rolled_back: report.rolledBack, errors: report.errors.length }, 'recovery done');
	stack.defer(watchLives(lifecycle));
	const acceptor = new Acceptor({
		database: db,
		loadChannel,
		clock,
		isParked: (tenant) => delivery.isParked(tenant),
		onStored: () => delivery.poke(),
		retainLimitBytes: config.limits.retainedBytesPerTenant,
	});

	const reconciler = new Reconciler({
		clock,
		log,
		intervalMs: config.policyIntervalMs,
		readDesired: () => readDesired(db, capabilities.freeze),
		readDemand: () => [],
		...instanceSide(lifecycle, newTraceId),
	});
	stack.defer(() => reconciler.stop());
	lifecycle.onChanged(() => reconciler.poke());

	let edge: Edge | undefined;
	const notReady = async (): Promise<readonly string[]> => {
		const missing: string[] = [];
		await db.asSystem(async () => undefined).catch(() => missing.push('store'));
		await runtime.capabilities({ signal: AbortSignal.timeout(2_000) }).catch(() => missing.push('hostd'));
		return missing;
	};
	const hostDeps = { runtime, paths, startedAtMs, version: VERSION, edge: () => edge, notReady };
	const follow = storedEvents(db);
	edge = await startEdge(
		{
			clock,
			log,
			authenticate: makeAuthenticate({
				clock,
				findKey: async (id) => {
					const row = await db.asSystem((tx) => findApiKey(tx, id));
					return row === undefined ? undefined : { ...row, isRevoked: row.revokedAt !== null };
				},
			}),
			metrics: async () => ({ contentType: metrics.registry.contentType, text: await metrics.registry.metrics() }),
			notReady,
			ingress: {
				checkSender: (message) => acceptor.checkSender(message),
				accept: (message) => acceptor.accept(message),
				maxBodyBytes: config.limits.maxBodyBytes,
				onOutcome: (outcome) => metrics.ingressAccepted.inc({ outcome }),
			},
			gateway: {
				orchestrator,
				log,
				holdDeadlineMs: config.limits.holdDeadlineMs,
				hold: new HoldCounter(config.limits.heldRequestsPerInstance, (held) => metrics.heldRequests.set(held)),
				findTarget: async (tenantId, poolId) => {
					const { image } = await pools.view(tenantId, poolId);
					return { port: image.workload.ready?.port, adapter: image.workload.adapter };
				},
				gatewayToken: async (id) => {
					const { link } = await lifecycle.handle(id);
					return link === undefined
						? undefined
						: new GuestAgent(link).workloadToken({ signal: AbortSignal.timeout(ASK_GUEST_MS) });
				},
			},
			api: {
				clock,
				log,
				follow,
				idempotency: storedIdempotency(db),
				maxBodyBytes: 64 * 1024 * 1024,
				handlers: makeHandlers({
					db,
					clock,
					log,
					random,
					masterKey: key,
					orchestrator,
					actions: lifecycle,
					instances: { get: getInstance, list: listInstances },
					images: runtime,
					observe: async (id, { signal }) => {
						const handle = await lifecycle.handle(id);
						return {
							runtime: await runtime.inspect(id, { signal }),
							inhibitors: [...inhibitorsNow(handle, clock.now()), ...handle.deferredBy],
						};
					},
					supervisor: async (id, { signal }) => {
						const { link, row } = await lifecycle.handle(id);
						if (link?.state !== 'up' || row.state !== 'running') return null; // a frozen guest cannot answer
						return new GuestAgent(link).supervisorStatus({
							signal: AbortSignal.any([signal, AbortSignal.timeout(ASK_GUEST_MS)]),
						});
					},
					logs: (what, { signal }) => runtime.logs(what, { signal }),
					checkpoints: {
						list: async (tx, id) => (await listCheckpoints(tx, id)).map(checkpointView),
						verify: (tenantId, id, options) =>
							verifiedView({ db, checkpoints }, { tenantId, id: parseCheckpointId(id) }, options),
					},
					dropBlobs: (tenant) => blobs.dropTenant(tenant),
					changed: (tenantId) => {
						pools.changed(tenantId);
						reconciler.invalidate();
					},
					host: { info: (options) => hostInfo(hostDeps, options), doctor: (options) => doctorReport(hostDeps, options) },
				}),
			},
		},
		{ listen: config.listen, tls: config.tls, adminSocket: paths.adminSocket },
	);
	const opened = edge;
	stack.defer(() => opened.close({ signal: AbortSignal.timeout(STOP_MS) }));
	await delivery.start({ recover: true });
	stack.defer(() => delivery.stop({ signal: AbortSignal.timeout(STOP_MS) }));
	reconciler.poke();
	stack.defer(keepGauges(lifecycle, metrics, db));
	log.info({ listen: opened.address, admin: paths.adminSocket }, 'daemon serves');
	ending = await ended;
	log.info({ ending }, 'daemon ends');
	if (ending === 'rest') {
		await opened.close({ signal: AbortSignal.timeout(STOP_MS) });
		await delivery.stop({ signal: AbortSignal.timeout(STOP_MS) });
		await reconciler.stop();
		await restAll(lifecycle, newTraceId());
	}
}

/** hostd may come up later than the daemon, or be restarting. Throws HOSTD_UNAVAILABLE. */
async function waitForHostd(runtime: Runtime, log: Logger): Promise<RuntimeCapabilities> {
	const deadline = clock.monotonic() + HOSTD_WAIT_MS;
	for (;;) {
		try {
			return await runtime.capabilities({ signal: AbortSignal.timeout(5_000) });
		} catch (error) {
			if (clock.monotonic() > deadline) throw error;
			log.debug({ err: error }, 'waiting for the host daemon');
			await clock.sleep(50, { signal: AbortSignal.timeout(HOSTD_WAIT_MS) });
		}
	}
}
