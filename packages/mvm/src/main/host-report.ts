// What `mvm doctor` and the host's view say: versions, sizes, what the driver can do here and what is weaker than it could be.
import { availableParallelism, totalmem } from 'node:os';
import type { DoctorReport, HostInfo } from '@mvm/protocol';
import type { Edge } from '../edge/index.ts';
import type { Paths } from '../platform/paths.ts';
import type { Runtime, RuntimeCapabilities } from '../ports/runtime.ts';
import { swapTotalBytes } from './swap-total.ts';

interface Deps {
	readonly runtime: Runtime;
	readonly paths: Paths;
	readonly startedAtMs: number;
	readonly version: string;
	/** Undefined until the edge is open. */
	readonly edge: () => Edge | undefined;
	/** What is not ready, by name. */
	readonly notReady: () => Promise<readonly string[]>;
}

interface Options {
	readonly signal: AbortSignal;
}

export async function hostInfo(deps: Deps, { signal }: Options): Promise<HostInfo> {
	const capabilities = await deps.runtime.capabilities({ signal });
	const address = deps.edge()?.address;
	return {
		version: deps.version,
		startedAt: new Date(deps.startedAtMs).toISOString(),
		privileged: !capabilities.conditions.some((c) => c.type === 'SingleUser' && c.status),
		dataDir: deps.paths.data,
		runDir: deps.paths.run,
		listen: address === undefined ? [] : [`${address.host}:${address.port}`],
		cpus: availableParallelism(),
		memoryBytes: totalmem(),
		swapBytes: swapTotalBytes(),
		daemonResidentBytes: process.memoryUsage.rss(),
		drivers: [driverView(capabilities)],
		conditions: [...capabilities.conditions],
	};
}

function driverView({
	driver,
	isolation,
	freeze,
	snapshot,
	bridgeNetwork,
	conditions,
}: RuntimeCapabilities): HostInfo['drivers'][number] {
	return { driver, isolation, freeze, snapshot, bridgeNetwork, conditions: [...conditions] };
}

export async function doctorReport(deps: Deps, { signal }: Options): Promise<DoctorReport> {
	const [missing, capabilities] = await Promise.all([deps.notReady(), deps.runtime.capabilities({ signal })]);
	const ready = { name: 'platform', level: missing.length === 0 ? ('ok' as const) : ('fail' as const) };
	const checks: DoctorReport['checks'] = [
		{
			...ready,
			message: missing.length === 0 ? 'store, host daemon and edge answer' : `not ready: ${missing.join(', ')}`,
			fix: null,
		},
		{
			name: `driver ${capabilities.driver}`,
			level: 'ok',
			message: `isolation by ${capabilities.isolation}, freeze ${yes(capabilities.freeze)}, memory snapshot ${yes(capabilities.snapshot)}`,
			fix: null,
		},
		...capabilities.conditions.map((c) => ({
			name: c.type,
			level: c.status ? ('warn' as const) : ('ok' as const),
			message: c.message,
			fix: null,
		})),
		swapTotalBytes() > 0
			? { name: 'swap', level: 'ok', message: `${Math.round(swapTotalBytes() / 1_048_576)} MiB`, fix: null }
			: {
					name: 'swap',
					level: 'warn',
					message: 'none: sleeping instances resume cold',
					fix: 'set swap.size_mib in mvm.toml and run mvm up as root',
				},
	];
	return { ok: checks.every((c) => c.level !== 'fail'), checks };
}

const yes = (is: boolean): string => (is ? 'yes' : 'no');
