// Where the pieces of one OpenClaw instance are, from the environment the supervisor gives to the workload and to its commands.
// Read by mvm-openclaw's commands; paths only, never contents.
import { join } from 'node:path';

export interface Settings {
	/** `OPENCLAW_STATE_DIR`, an integration's folder on /data. */
	readonly stateDir: string;
	/** ws and http address of the gateway. */
	readonly wsUrl: string;
	readonly httpUrl: string;
	/** Folder owned by the workload, on a tmpfs: the copy of this program and the gateway's token. */
	readonly ownDir: string;
	/** Folder with one sub-folder per integration, one file per secret. */
	readonly secretsDir: string;
	/** Where `openclaw` is looked for. */
	readonly path: string;
}

/** The path of the token file that `install` writes and the exec provider `gateway` reads. */
export const tokenFile = (ownDir: string): string => join(ownDir, 'gateway-token');
/** The path of the program's copy; the command of every exec SecretRef provider in openclaw.json. */
export const programFile = (ownDir: string): string => join(ownDir, 'mvm-openclaw');

type Environment = Readonly<Record<string, string | undefined>>;

/** Defaults are those of the sandbox; tests set every variable. */
export function readSettings(environment: Environment): Settings {
	const port = Number(environment['OPENCLAW_GATEWAY_PORT'] ?? '18789');
	if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error('OPENCLAW_GATEWAY_PORT is not a port');
	return {
		stateDir: environment['OPENCLAW_STATE_DIR'] ?? '/data/integrations/openclaw/state',
		wsUrl: `ws://127.0.0.1:${port}`,
		httpUrl: `http://127.0.0.1:${port}`,
		ownDir: environment['MVM_OPENCLAW_DIR'] ?? '/tmp/mvm-openclaw',
		secretsDir: environment['MVM_SECRETS_DIR'] ?? '/run/secrets',
		path: environment['PATH'] ?? '',
	};
}
