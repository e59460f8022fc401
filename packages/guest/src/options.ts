// Where the agent finds and makes its things. Fixed inside an instance; flags exist for tests, which run it as a plain process.
import { parseArgs } from 'node:util';
import { GUEST_CONFIG_PATH, GUEST_LINK_DIR, INTEGRATIONS_DROPIN_DIR } from '@mvm/protocol';

export interface AgentPaths {
	/** GuestConfig, written by the host. */
	readonly config: string;
	/** Directory with the host's two link sockets. */
	readonly link: string;
	/** The agent's own directory on a tmpfs: `api.sock`. */
	readonly run: string;
	/** The instance's only durable directory. */
	readonly data: string;
	readonly secrets: string;
	readonly dropins: string;
}

export interface AgentOptions {
	readonly paths: AgentPaths;
	/** Inherited descriptor with {incarnation, token}; read to its end once and closed. */
	readonly bootFd: number;
}

/** Throws on flags it does not know. */
export function readOptions(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): AgentOptions {
	const text = { type: 'string' } as const;
	const { values } = parseArgs({
		args: [...argv],
		options: { config: text, link: text, run: text, data: text, secrets: text, dropins: text, 'boot-fd': text },
	});
	return {
		paths: {
			config: values.config ?? GUEST_CONFIG_PATH,
			link: values.link ?? GUEST_LINK_DIR,
			run: values.run ?? '/run/mvm',
			data: values.data ?? '/data',
			secrets: values.secrets ?? '/run/secrets',
			dropins: values.dropins ?? INTEGRATIONS_DROPIN_DIR,
		},
		bootFd: Number(values['boot-fd'] ?? env['MVM_BOOT_FD'] ?? 3),
	};
}
