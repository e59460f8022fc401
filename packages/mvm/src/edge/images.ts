// Which revision an image's name stands for. Used by pool.create and deploy.
import { type ImageRevision, MvmError } from '@mvm/protocol';

/** A whole hash, or a name: then its newest revision. Throws IMAGE_NOT_FOUND. */
export function resolveImage(images: readonly ImageRevision[], nameOrHash: string): ImageRevision {
	const exact = images.find((image) => image.hash === nameOrHash);
	if (exact !== undefined) return exact;
	const named = images.filter((image) => image.name === nameOrHash).sort((a, b) => b.createdAt.localeCompare(a.createdAt));
	const [newest] = named;
	if (newest !== undefined) return newest;
	throw new MvmError('IMAGE_NOT_FOUND', `there is no image ${nameOrHash}`, {
		details: { image: nameOrHash },
		hint: 'build it first: mvm image build FILE; mvm image list shows what is there',
	});
}
