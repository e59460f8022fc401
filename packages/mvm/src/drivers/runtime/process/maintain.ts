// The host's housekeeping while hostd runs: console logs below their cap, folders measured. Started by main/run-hostd.ts.
import { trimConsole } from './console-log.ts';
import { type ProcessHost, pathsOf } from './host.ts';
import { measureFolder } from './measure.ts';

const PAUSE_MS = 5_000;
/** Walking costs; a folder is measured in every sixth round. */
const MEASURE_EVERY = 6;

/** Until `signal` aborts. A failure of one instance is logged and tried again; it never stops the others. */
export async function maintainProcessHost(host: ProcessHost, options: { signal: AbortSignal }): Promise<void> {
	for (let round = 0; !options.signal.aborted; round += 1) {
		for (const record of host.slots.all()) {
			const paths = pathsOf(host, record);
			try {
				trimConsole(paths.consoleLog);
				if (round % MEASURE_EVERY === 0 && record.phase === 'started' && (await host.disk.usedBytes(paths)) === undefined)
					host.measured.set(record.slot, await measureFolder(paths.data, options));
			} catch (err) {
				if (options.signal.aborted) return;
				host.log.warn({ err, instance_id: record.instanceId }, 'host maintenance failed');
			}
		}
		await host.clock.sleep(PAUSE_MS, options).catch(() => {});
	}
}
