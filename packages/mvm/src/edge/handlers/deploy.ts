// Makes a tenant as a deploy file says. Everything is judged before anything changes; images are built first (long, and
// harmless when nothing follows), then tenant, secrets and pools change in one transaction. Repeating it changes nothing.
// Pools that the file does not name are left alone.
import {
	type DeployFile,
	type DeployRequest,
	type DeployResult,
	type DocumentProblem,
	type ImageRevision,
	MvmError,
	PoolSpec,
	parseDeployFile,
	Quotas,
} from '@mvm/protocol';
import { SecretValue } from '../../platform/secret-value.ts';
import {
	createTenant,
	findPool,
	findTenant,
	listSecrets,
	putPool,
	readSecrets,
	setPoolImage,
	setSecret,
	type Tx,
	updateTenant,
} from '../../state/index.ts';
import type { ApiContext, Handlers } from '../api-types.ts';
import type { ControlDeps } from '../control-deps.ts';
import { resolveImage } from '../images.ts';
import { recordAct, refuseSharedChannels } from './common.ts';

type DeployHandlers = Pick<Handlers, 'deploy.apply' | 'deploy.plan'>;
type Change = DeployResult['changes'][number];

export function deployHandlers(deps: ControlDeps): DeployHandlers {
	return {
		'deploy.plan': async (context, { body }) => {
			const file = await judge(deps, context, body);
			const changes = await deps.db.asTenant(file.tenant.id, (tx) => walk(deps, tx, { file, body, images: undefined }));
			const images = Object.keys(body.recipes).map(
				(id): Change => ({ kind: 'image', id, action: 'update', detail: 'built unless it is there' }),
			);
			return { tenantId: file.tenant.id, applied: false, changes: [...images, ...changes] };
		},
		'deploy.apply': async (context, { body }) => {
			const file = await judge(deps, context, body);
			const tenantId = file.tenant.id;
			const images = await buildImages(deps, context, file, body);
			const changes = await deps.db.asTenant(tenantId, async (tx) => {
				const done = await walk(deps, tx, { file, body, images });
				await refuseSharedChannels(tx, tenantId);
				const changed = done.filter((change) => change.action !== 'unchanged').map((change) => `${change.kind}/${change.id}`);
				if (changed.length > 0) {
					await recordAct(deps, tx, context, {
						tenantId,
						action: 'deploy.apply',
						target: `tenant/${tenantId}`,
						detail: { changed },
					});
				}
				return done;
			});
			deps.changed(tenantId);
			const built = [...images].map(
				([id, image]): Change => ({
					kind: 'image',
					id,
					action: image.reused ? 'unchanged' : 'create',
					detail: `${image.name} ${image.hash.slice(0, 12)}`,
				}),
			);
			return { tenantId, applied: true, changes: [...built, ...changes] };
		},
	};
}

/** The parsed file, or INVALID_DOCUMENT with every problem of the file, its recipes and its secrets at once. */
async function judge(deps: ControlDeps, context: ApiContext, body: DeployRequest): Promise<DeployFile> {
	const parsed = parseDeployFile(body.document);
	if (!parsed.ok) throw invalid(parsed.problems);
	const file = parsed.value;
	const problems: DocumentProblem[] = [];
	const present = await deps.db.asTenant(file.tenant.id, (tx) => listSecrets(tx, file.tenant.id));
	for (const name of Object.keys(file.secrets)) {
		if (body.secrets[name] === undefined && !present.some((secret) => secret.name === name)) {
			problems.push({ path: `secrets.${name}`, message: 'has no value: its file was not sent and none is stored' });
		}
	}
	const images = await deps.images.listImages(context);
	for (const [at, pool] of file.pools.entries()) {
		if (pool.image === null || body.recipes[pool.image] !== undefined) continue;
		try {
			resolveImage(images, pool.image);
		} catch {
			problems.push({
				path: `pools.${at}.image`,
				message: `no recipe ${pool.image} was sent and no image has this name or hash`,
			});
		}
	}
	if (problems.length > 0) throw invalid(problems);
	return file;
}

function invalid(problems: readonly DocumentProblem[]): MvmError {
	const [first] = problems;
	const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
	return new MvmError('INVALID_DOCUMENT', `the deploy file is not valid: ${first?.path} ${first?.message}${more}`, {
		details: { problems },
		hint: 'nothing was changed',
	});
}

/** By what the pools call them. */
async function buildImages(
	deps: ControlDeps,
	context: ApiContext,
	file: DeployFile,
	body: DeployRequest,
): Promise<ReadonlyMap<string, ImageRevision>> {
	const images = new Map<string, ImageRevision>();
	for (const { image } of file.pools) {
		if (image === null || images.has(image)) continue;
		const recipe = body.recipes[image];
		const options = { signal: context.signal, onProgress: context.progress };
		const revision =
			recipe === undefined
				? resolveImage(await deps.images.listImages(context), image)
				: await deps.images.installImage(recipe, options);
		images.set(image, recipe === undefined ? { ...revision, reused: true } : revision);
	}
	return images;
}

interface WalkInput {
	readonly file: DeployFile;
	readonly body: DeployRequest;
	/** Undefined: only look, change nothing. */
	readonly images: ReadonlyMap<string, ImageRevision> | undefined;
}

/** Looks at everything the file names and, unless it only plans, makes it so. One list serves plan and apply. */
async function walk(deps: ControlDeps, tx: Tx, input: WalkInput): Promise<Change[]> {
	return [await walkTenant(tx, input), ...(await walkSecrets(deps, tx, input)), ...(await walkPools(tx, input))];
}

async function walkTenant(tx: Tx, { file, images }: WalkInput): Promise<Change> {
	const { id, quotas } = file.tenant;
	const present = await findTenant(tx, id);
	if (present === undefined) {
		if (images !== undefined) await createTenant(tx, { id, quotas });
		return { kind: 'tenant', id, action: 'create', detail: '' };
	}
	const same = JSON.stringify(Quotas.encode(present.quotas)) === JSON.stringify(Quotas.encode(quotas));
	if (same) return { kind: 'tenant', id, action: 'unchanged', detail: '' };
	if (images !== undefined) await updateTenant(tx, { id, patch: { quotas } });
	return { kind: 'tenant', id, action: 'update', detail: 'quotas' };
}

async function walkSecrets(deps: ControlDeps, tx: Tx, { file, body, images }: WalkInput): Promise<Change[]> {
	const tenantId = file.tenant.id;
	const names = Object.keys(file.secrets).filter((name) => body.secrets[name] !== undefined);
	const present = await readSecrets(tx, { tenantId, names, key: deps.masterKey }).catch(() => new Map<string, SecretValue>());
	const changes: Change[] = [];
	for (const name of names) {
		const value = new SecretValue(body.secrets[name] ?? '');
		const before = present.get(name);
		const action = before === undefined ? 'create' : before.reveal() === value.reveal() ? 'unchanged' : 'update';
		if (images !== undefined && action !== 'unchanged') await setSecret(tx, { tenantId, name, value, key: deps.masterKey });
		changes.push({ kind: 'secret', id: name, action, detail: '' });
	}
	return changes;
}

async function walkPools(tx: Tx, { file, images }: WalkInput): Promise<Change[]> {
	const tenantId = file.tenant.id;
	const changes: Change[] = [];
	for (const spec of file.pools) {
		const before = await findPool(tx, { tenantId, id: spec.id });
		const same = before !== undefined && JSON.stringify(PoolSpec.encode(before.spec)) === JSON.stringify(PoolSpec.encode(spec));
		const revision = spec.image === null ? undefined : images?.get(spec.image);
		const newImage = revision !== undefined && before?.image !== revision.hash;
		if (images !== undefined && !same) await putPool(tx, { tenantId, spec });
		if (images !== undefined && newImage) await setPoolImage(tx, { tenantId, id: spec.id, image: revision.hash });
		const action = before === undefined ? 'create' : same && !newImage ? 'unchanged' : 'update';
		changes.push({ kind: 'pool', id: spec.id, action, detail: newImage ? `image ${revision.hash.slice(0, 12)}` : '' });
	}
	return changes;
}
