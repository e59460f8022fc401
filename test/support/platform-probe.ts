// Instances that run a test's own code: deploys test/support/probe-agent and calls into it through the gateway.
import { resolve } from 'node:path';
import { type InstanceId, parseTenantId, type TenantId } from '@mvm/protocol';
import type { TestPlatform } from './platform.ts';
import { type DeployDocument, readDeploy } from './platform-deploy.ts';

const PROBE = resolve(import.meta.dirname, 'probe-agent');

export interface Probe {
	readonly tenant: TenantId;
	readonly instance: InstanceId;
	/** Runs the body of an async function in the instance; `require` is there. */
	run<T>(code: string): Promise<T>;
}

export interface ProbeOptions {
	readonly tenant: string;
	readonly patch?: (document: DeployDocument) => void;
	readonly recipe?: Readonly<Record<string, unknown>>;
}

/** Deploys without waiting for anything. */
export async function deployProbe(platform: TestPlatform, options: ProbeOptions): Promise<TenantId> {
	const request = readDeploy(PROBE, {
		secrets: { IN_SCOPE: `inside-${options.tenant}`, OUT_OF_SCOPE: `outside-${options.tenant}` },
		recipe: options.recipe,
		patch: (document) => {
			document.tenant.id = options.tenant;
			options.patch?.(document);
		},
	});
	await platform.deploy(request);
	return parseTenantId(options.tenant);
}

/** Deploys and waits until the instance runs. */
export async function startProbe(platform: TestPlatform, options: ProbeOptions): Promise<Probe> {
	const tenant = await deployProbe(platform, options);
	const { id: instance } = await platform.until(`a running instance of ${tenant}`, async () =>
		(await platform.client.call('instance.list', { query: { tenantId: tenant } })).items.find(({ state }) => state === 'running'),
	);
	const { key } = await platform.client.call('key.create', { body: { role: 'operator', name: `probe ${tenant}` } });
	return {
		tenant,
		instance,
		async run<T>(code: string): Promise<T> {
			const answer = await fetch(`${platform.edge}/t/${tenant}/workers/`, {
				method: 'POST',
				headers: { authorization: `Bearer ${key}` },
				body: code,
				signal: AbortSignal.timeout(60_000),
			});
			const value: unknown = await answer.json();
			if (!answer.ok) throw new Error(`the probe answered ${answer.status}: ${JSON.stringify(value)}`);
			return value as T;
		},
	};
}
