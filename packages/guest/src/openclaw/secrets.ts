// OpenClaw's exec SecretRef provider: one JSON question on stdin, one JSON answer on stdout. One provider alias per integration, so
// a question can only ever reach the folder of its own integration under /run/secrets. Values go to stdout and nowhere else.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Settings, tokenFile } from './settings.ts';

const MAX_IDS = 256;
const MAX_VALUE_BYTES = 65_536;
/** The provider whose only secret is the gateway's own token. */
const GATEWAY = 'gateway';

interface Answer {
	readonly protocolVersion: 1;
	readonly values: Record<string, string>;
	readonly errors: Record<string, { readonly code: string; readonly message: string }>;
}

/** Answers one question. Throws on anything that is not a version 1 question for this very provider. */
export async function resolveSecrets(input: { integration: string; question: string; settings: Settings }): Promise<Answer> {
	const { integration, settings } = input;
	if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(integration)) throw new Error('the integration is not a name');
	const question = parseQuestion(input.question);
	const answer: Answer = { protocolVersion: 1, values: {}, errors: {} };
	for (const id of question.ids) {
		const path = pathOf(integration, id, settings);
		const value = path === null ? null : await readSecret(path);
		if (value === null)
			answer.errors[id] = { code: 'NOT_FOUND', message: `no secret ${JSON.stringify(id)} in scope of ${integration}` };
		else answer.values[id] = value;
	}
	return answer;
}

function parseQuestion(text: string): { ids: string[] } {
	const value = JSON.parse(text) as { protocolVersion?: unknown; ids?: unknown } | null;
	if (value?.protocolVersion !== 1)
		throw new Error(`protocol version ${JSON.stringify(value?.protocolVersion)} is not spoken here`);
	const { ids } = value;
	if (!Array.isArray(ids) || ids.length > MAX_IDS || !ids.every((id) => typeof id === 'string'))
		throw new Error('ids must be a list of at most 256 names');
	return { ids: ids as string[] };
}

/** An id is a plain secret name; a repeated integration in front (`telegram/TOKEN`) is allowed, another one is not found. */
function pathOf(integration: string, id: string, settings: Settings): string | null {
	const name = id.startsWith(`${integration}/`) ? id.slice(integration.length + 1) : id;
	if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(name)) return null;
	if (integration === GATEWAY) return name === 'TOKEN' ? tokenFile(settings.ownDir) : null;
	return join(settings.secretsDir, integration, name);
}

/** Null when it is not there, not a plain file, or not readable for this user: for the asker all the same. */
async function readSecret(path: string): Promise<string | null> {
	const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => null);
	if (file === null) return null;
	try {
		const { size } = await file.stat().then((stat) => (stat.isFile() ? stat : { size: -1 }));
		if (size < 0 || size > MAX_VALUE_BYTES) return null;
		return (await file.readFile('utf8')).replace(/\r?\n$/, '');
	} finally {
		await file.close();
	}
}
