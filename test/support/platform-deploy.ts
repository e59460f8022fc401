// Deploys examples/counter, or any folder like it, with a test's own upstreams and policies: reads the files as they are, applies a
// patch, and sends what `mvm deploy` would send.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseTenantId, type TenantId } from '@mvm/protocol';
import { parse as parseToml } from 'smol-toml';
import { startTelegram, type TelegramStandIn } from '../../examples/stand-ins/telegram.ts';
import type { Update } from '../../examples/stand-ins/telegram-webhook.ts';
import type { TestPlatform } from './platform.ts';

export const COUNTER = resolve(import.meta.dirname, '../../examples/counter');

/** The deploy file's first pool in wire form; patches are laid over it, key by key. */
export type PoolPatch = Readonly<Record<string, unknown>>;

export interface CounterDeploy {
	/** Default: the example's. */
	readonly tenant?: string;
	readonly telegram: TelegramStandIn;
	readonly pool?: PoolPatch;
	readonly quotas?: Readonly<Record<string, number>>;
	/** Laid over the recipe. */
	readonly recipe?: Readonly<Record<string, unknown>>;
}

const CHANNEL = 'telegram';

/** A Telegram of the test's own. `edge` is asked when the first update is delivered: the platform comes up later. */
export async function counterTelegram(): Promise<{ telegram: TelegramStandIn; secret: string }> {
	const token = `7000000002:${randomBytes(18).toString('hex').slice(0, 35)}`;
	return { telegram: await startTelegram({ port: 0, token }), secret: `s-${randomBytes(12).toString('hex')}` };
}

/** The request for a folder's `deploy.toml`, as the command line would send it. */
export function readDeploy(
	folder: string,
	input: {
		readonly secrets: Readonly<Record<string, string>>;
		readonly patch: (document: DeployDocument) => void;
		readonly recipe?: Readonly<Record<string, unknown>> | undefined;
	},
): { document: DeployDocument; recipes: Record<string, unknown>; secrets: Readonly<Record<string, string>> } {
	const document = parseToml(readFileSync(join(folder, 'deploy.toml'), 'utf8')) as unknown as DeployDocument;
	input.patch(document);
	const recipes: Record<string, unknown> = {};
	for (const { image } of document.pools) {
		if (image === undefined) continue;
		const path = join(folder, image);
		recipes[image] = { ...parseToml(readFileSync(path, 'utf8')), base_dir: dirname(path), ...input.recipe };
	}
	return { document, recipes, secrets: input.secrets };
}

export interface DeployDocument {
	tenant: { id: string; quotas?: Record<string, unknown> };
	secrets: Record<string, unknown>;
	pools: (Record<string, unknown> & { id: string; image?: string; endpoints: Record<string, unknown>[] })[];
}

/** Deploys the counter; resolves with its tenant. */
export async function deployCounter(platform: TestPlatform, secret: string, options: CounterDeploy): Promise<TenantId> {
	const request = readDeploy(COUNTER, {
		secrets: { TELEGRAM_BOT_TOKEN: options.telegram.token, TELEGRAM_WEBHOOK_SECRET: secret },
		recipe: options.recipe,
		patch: (document) => {
			document.tenant.id = options.tenant ?? document.tenant.id;
			document.tenant.quotas = { ...document.tenant.quotas, ...options.quotas };
			const [pool] = document.pools;
			if (pool === undefined) throw new Error('the counter example has no pool');
			for (const endpoint of pool.endpoints) endpoint['upstream'] = options.telegram.url;
			Object.assign(pool, options.pool);
		},
	});
	await platform.deploy(request);
	return parseTenantId(request.document.tenant.id);
}

/** Sends one update to the edge as Telegram does; resolves with the status. Never throws for a refused connection: status 0. */
export async function sendUpdate(
	platform: { readonly edge: string },
	input: { tenant: string; secret: string; update: Update },
): Promise<number> {
	try {
		const answer = await fetch(`${platform.edge}/in/${input.tenant}/${CHANNEL}`, {
			method: 'POST',
			headers: { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': input.secret },
			body: JSON.stringify(input.update),
			signal: AbortSignal.timeout(20_000),
		});
		await answer.arrayBuffer();
		return answer.status;
	} catch {
		return 0;
	}
}
