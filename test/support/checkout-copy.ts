// A copy of this checkout that every user may read and run, for tests that start things as somebody else: the real one may lie
// under a 0700 home. Sources as they are, production dependencies, Node; no git, no development tools.
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { productionClosure } from '../../packages/mvm/src/main/stage-closure.ts';
import { copyOne, copyTree, makeFolder } from '../../packages/mvm/src/main/stage-tree.ts';

/** Copies to `root` (made here) and returns the copy's Node. */
export function copyCheckout(root: string): string {
	const checkout = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
	const keepAll = (): boolean => false;
	makeFolder(join(root, 'bin'));
	copyOne(process.execPath, join(root, 'bin/node'));
	for (const name of ['package.json', 'package-lock.json']) copyOne(join(checkout, name), join(root, name));
	for (const folder of ['examples', 'test/support']) copyTree(join(checkout, folder), join(root, folder), keepAll);
	makeFolder(join(root, 'node_modules/@mvm'));
	for (const name of ['protocol', 'guest', 'mvm', 'sdk']) {
		copyTree(join(checkout, 'packages', name), join(root, 'packages', name), (entry) => entry === 'node_modules');
		symlinkSync(`../../packages/${name}`, join(root, 'node_modules/@mvm', name));
	}
	for (const { from, to } of productionClosure(checkout, join(checkout, 'packages/mvm'), new Set()))
		copyTree(from, join(root, to), (name) => name === 'node_modules');
	return join(root, 'bin/node');
}
