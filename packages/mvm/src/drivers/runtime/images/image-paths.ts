// Where the image store keeps things below `<data>/images`. Pure; every name in it is a hash or a version made here.
//
//   revisions/<hash>/revision.json   what was built (the port's ImageRevision)
//   revisions/<hash>/layout.json     what a sandbox binds and sets
//   revisions/<hash>/rootfs/         the image's own files, at their paths in the sandbox
//   node/<platform>-<version>/bin/node   shared by all images of that version
//   locks/<key>.*          one recipe's lock file, its resolved packages and the revision it made last
//   tmp/<key>/             a build in progress
import { join } from 'node:path';

export interface ImagePaths {
	readonly root: string;
	readonly revisions: string;
	readonly node: string;
	readonly locks: string;
	readonly tmp: string;
	readonly tools: string;
	revision(hash: string): string;
}

export function imagePaths(dataDir: string): ImagePaths {
	const root = join(dataDir, 'images');
	return {
		root,
		revisions: join(root, 'revisions'),
		node: join(root, 'node'),
		locks: join(root, 'locks'),
		tmp: join(root, 'tmp'),
		tools: join(root, 'tools'),
		revision: (hash) => join(root, 'revisions', hash),
	};
}
