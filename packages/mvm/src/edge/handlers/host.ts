// The host and its images.
import { listPools } from '../../state/index.ts';
import type { Handlers } from '../api-types.ts';
import type { ControlDeps } from '../control-deps.ts';
import { toImageView } from '../views.ts';
import { recordAct } from './common.ts';

type HostHandlers = Pick<Handlers, 'image.build' | 'image.list' | 'image.gc' | 'host.info' | 'host.doctor'>;

export function hostHandlers(deps: ControlDeps): HostHandlers {
	const allPools = () => deps.db.asSystem((tx) => listPools(tx));
	return {
		'image.build': async (context, { body }) => {
			const image = await deps.images.installImage(body.recipe, { signal: context.signal, onProgress: context.progress });
			if (!image.reused) {
				const detail = { name: image.name, bytes: image.bytes };
				await deps.db.asSystem((tx) =>
					recordAct(deps, tx, context, { tenantId: undefined, action: 'image.build', target: `image/${image.hash}`, detail }),
				);
			}
			return toImageView(image, await allPools());
		},
		'image.list': async (context) => {
			const [images, pools] = await Promise.all([deps.images.listImages(context), allPools()]);
			const newestFirst = [...images].sort((a, b) => a.name.localeCompare(b.name) || b.createdAt.localeCompare(a.createdAt));
			return { items: newestFirst.map((image) => toImageView(image, pools)), next: null };
		},
		'image.gc': async (context, { body }) => {
			const [images, pools, instances] = await Promise.all([
				deps.images.listImages(context),
				allPools(),
				deps.db.asSystem((tx) => deps.instances.list(tx, {})),
			]);
			const keep = new Set<string>();
			for (const { image } of [...pools, ...instances]) if (image !== null) keep.add(image);
			for (const name of new Set(images.map((image) => image.name))) {
				const revisions = images.filter((image) => image.name === name);
				const newest = revisions.sort((a, b) => b.createdAt.localeCompare(a.createdAt)).slice(0, body.keep);
				for (const image of newest) keep.add(image.hash);
			}
			const removed = await deps.images.gcImages([...keep], context);
			if (removed.length > 0) {
				const detail = { removed };
				await deps.db.asSystem((tx) =>
					recordAct(deps, tx, context, { tenantId: undefined, action: 'image.gc', target: 'images', detail }),
				);
			}
			return { removed: [...removed] };
		},
		'host.info': (context) => deps.host.info(context),
		'host.doctor': (context) => deps.host.doctor(context),
	};
}
