// The system user that the daemon and Postgres run as when mvm is started by root; made on first use.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { MvmError } from '@mvm/protocol';

const DAEMON_USER = 'mvm';

/** Finds the user, or makes it: no login, no home. Throws HOST_UNSUPPORTED with the command that failed. */
export function ensureDaemonUser(): { readonly uid: number; readonly gid: number } {
	const found = findUser();
	if (found !== undefined) return found;
	const args = [
		'--system',
		'--user-group',
		'--no-create-home',
		'--home-dir',
		'/nonexistent',
		'--shell',
		'/usr/sbin/nologin',
		DAEMON_USER,
	];
	const made = spawnSync('/usr/sbin/useradd', args, { encoding: 'utf8' });
	const user = findUser();
	if (user !== undefined) return user;
	throw new MvmError('HOST_UNSUPPORTED', `the system user ${DAEMON_USER} could not be made`, {
		details: { stderr: made.stderr ?? String(made.error) },
		hint: `useradd ${args.join(' ')}`,
	});
}

function findUser(): { uid: number; gid: number } | undefined {
	const line = readFileSync('/etc/passwd', 'utf8')
		.split('\n')
		.find((entry) => entry.startsWith(`${DAEMON_USER}:`));
	const [, , uid, gid] = line?.split(':') ?? [];
	return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}
