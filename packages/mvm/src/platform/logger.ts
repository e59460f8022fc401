// JSON logs on stderr-like streams. Messages are constant lower-case phrases; values are snake_case keys with units.
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger } from 'pino';

/** Makes the root logger of a process; children add tenant_id, instance_id, operation_id and trace_id. */
export function makeLogger(options: {
	readonly service: string;
	readonly level: string;
	readonly destination?: DestinationStream;
}): Logger {
	return pino(
		{
			level: options.level,
			base: { service: options.service, pid: process.pid },
			timestamp: stdTimeFunctions.isoTime,
			messageKey: 'msg',
			formatters: { level: (label) => ({ level: label }) },
		},
		options.destination ?? pino.destination({ fd: 1, sync: true }),
	);
}

/** A logger that writes nothing; for tests. */
export const silentLogger: Logger = pino({ level: 'silent' });
