// Where a recipe may put files in the image. Pure; called for every destination before anything is read or written.
import { MvmError } from '@mvm/protocol';

/** Folders of the image's own. Everything else is the base's, the platform's or the instance's. */
const ALLOWED = ['/opt/', '/etc/', '/srv/', '/home/'];
/** Platform's own places below those. */
const RESERVED = ['/opt/mvm', '/opt/node', '/opt/npm', '/etc/mvm-config', '/etc/passwd', '/etc/group', '/etc/ssl'];

/** The destination in normal form; throws INVALID_DOCUMENT with the field's path. */
export function checkDestination(destination: string, field: string): string {
	const names = destination.split('/').filter((name) => name !== '');
	const path = `/${names.join('/')}`;
	const refuse = (why: string): never => {
		throw new MvmError('INVALID_DOCUMENT', `the recipe cannot put ${destination} into an image`, {
			details: { problems: [{ path: field, message: why }] },
			hint: 'use a place below /opt, /srv, /home or /etc',
		});
	};
	if (!destination.startsWith('/') || names.includes('..') || names.includes('.') || /[\0\n]/.test(destination))
		refuse('must be an absolute path in plain form');
	if (!ALLOWED.some((folder) => path.startsWith(folder))) refuse(`must lie below ${ALLOWED.join(', ')}`);
	if (RESERVED.some((taken) => path === taken || path.startsWith(`${taken}/`))) refuse('this place belongs to the platform');
	return path;
}
