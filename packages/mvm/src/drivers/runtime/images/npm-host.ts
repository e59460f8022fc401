// The operator's npm: where it is and how it is configured (registry, certificates, proxy). Called before an install in a
// sandbox, which has none of the host's configuration. Never reads or passes on credentials.
import { spawn } from 'node:child_process';
import { access, constants, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MvmError } from '@mvm/protocol';

export interface HostNpm {
	/** Folder of the npm package; `bin/npm-cli.js` is in it. */
	readonly packageDir: string;
	/** Settings for the sandbox's own npmrc; no credentials. */
	readonly settings: Readonly<Record<string, string>>;
	/** Certificate bundle that the operator's npm trusts, to be shown in the sandbox. */
	readonly cafile: string | undefined;
}

const PLAIN_KEYS = ['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl', 'fetch-retries', 'maxsockets'];
const SCOPE_REGISTRY = /^@[^:]+:registry$/;
const OUTPUT_LIMIT = 256 * 1024;

/** Throws IMAGE_BUILD_FAILED when this host has no npm. */
export async function readHostNpm(
	env: Readonly<Record<string, string | undefined>>,
	options: { signal: AbortSignal },
): Promise<HostNpm> {
	const command = await findNpm(env['PATH'] ?? '');
	const packageDir = dirname(dirname(await realpath(command)));
	const config = await readConfig(command, env, options.signal);
	const settings: Record<string, string> = {};
	for (const [key, value] of Object.entries(config)) {
		if (!PLAIN_KEYS.includes(key) && !SCOPE_REGISTRY.test(key)) continue;
		const text = Array.isArray(value) ? value.join(',') : String(value ?? '');
		// A registry address may carry a password; what the sandbox sees may not.
		if (text !== '' && text !== 'null' && !/[\n\r]/.test(text) && !/\/\/[^/@]*:[^/@]*@/.test(text)) settings[key] = text;
	}
	const cafile = [config['cafile'], env['NODE_EXTRA_CA_CERTS']].find((path) => typeof path === 'string' && path.startsWith('/'));
	return {
		packageDir,
		settings,
		cafile: cafile === undefined ? undefined : await realpath(String(cafile)).catch(() => undefined),
	};
}

async function findNpm(path: string): Promise<string> {
	const folders = [...path.split(':'), dirname(process.execPath), '/usr/local/bin', '/usr/bin'];
	for (const folder of folders.filter((name) => name.startsWith('/'))) {
		const command = join(folder, 'npm');
		const isThere = await access(command, constants.X_OK).then(
			() => true,
			() => false,
		);
		if (isThere && (await realpath(command)).endsWith('/bin/npm-cli.js')) return command;
	}
	throw new MvmError('IMAGE_BUILD_FAILED', 'npm is not on this host', { hint: 'install npm, or put it in the PATH of mvm' });
}

/**
 * npm looks for its global configuration beside the node that runs it, so it runs under the node beside itself when there
 * is one: that is the pair the operator configured. A `npm_config_globalconfig` in the environment wins, as always.
 */
async function readConfig(
	command: string,
	env: Readonly<Record<string, string | undefined>>,
	signal: AbortSignal,
): Promise<Record<string, unknown>> {
	const kept = Object.entries(env).filter(([key]) => /^(HOME|npm_config_.*|https?_proxy|no_proxy)$/i.test(key));
	const child = spawn(command, ['config', 'ls', '--long', '--json'], {
		cwd: '/',
		stdio: ['ignore', 'pipe', 'ignore'],
		env: { ...Object.fromEntries(kept), PATH: `${dirname(command)}:${dirname(process.execPath)}:/usr/bin:/bin` },
		signal,
	});
	let out = '';
	child.stdout.on('data', (chunk: Buffer) => {
		if (out.length < OUTPUT_LIMIT) out += chunk.toString('utf8');
	});
	const code = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done));
	try {
		return JSON.parse(out) as Record<string, unknown>;
	} catch (cause) {
		throw new MvmError('IMAGE_BUILD_FAILED', "the operator's npm does not tell its configuration", {
			details: { exit: code },
			cause,
		});
	}
}
