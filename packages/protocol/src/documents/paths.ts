// Paths in documents: judged part by part, so that none leads out of where it starts. No file is touched here.
import * as z from 'zod/mini';

// Control characters have no place in a path that somebody wrote into a document.
const CLEAN = /^[^\u0000-\u001f\u007f]+$/;
const climbs = (path: string): boolean => path.split('/').includes('..');

/** `/opt/app`; no `..`. */
export const AbsolutePathSchema = z
	.string()
	.check(z.refine((path) => path.startsWith('/') && CLEAN.test(path) && !climbs(path), 'must be an absolute path without ".."'));

/** `secrets/token`; no `..`, not absolute. */
export const RelativePathSchema = z
	.string()
	.check(z.refine((path) => !path.startsWith('/') && CLEAN.test(path) && !climbs(path), 'must be a relative path without ".."'));
