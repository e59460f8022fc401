// Makes sure that bubblewrap and socat are there: by apt as root, else it says exactly what to install.
import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const wanted = [
	{ command: 'bwrap', package: 'bubblewrap' },
	{ command: 'socat', package: 'socat' },
	{ command: 'mkfs.ext4', package: 'e2fsprogs' },
	{ command: 'setpriv', package: 'util-linux' },
] as const;

function has(command: string): boolean {
	return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => {
		try {
			accessSync(join(folder, command), constants.X_OK);
			return true;
		} catch {
			return false;
		}
	});
}

const missing = [...new Set(wanted.filter((w) => !has(w.command)).map((w) => w.package))];
if (missing.length > 0) {
	const install = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
	if (process.getuid?.() !== 0) {
		process.stderr.write(`error: missing system packages: ${missing.join(', ')}\ntry: sudo ${install}\n`);
		process.exit(1);
	}
	process.stdout.write(`installing ${missing.join(', ')} with apt\n`);
	const options: SpawnSyncOptions = {
		stdio: ['ignore', 'ignore', 'inherit'],
		env: {
			...process.env,
			// dpkg insists on the folders of system programs, which a user's PATH may lack.
			PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`,
			DEBIAN_FRONTEND: 'noninteractive',
		},
	};
	const args = ['install', '-y', '--no-install-recommends', ...missing];
	let done = spawnSync('apt-get', args, options);
	if (done.status !== 0) {
		spawnSync('apt-get', ['update', '-q'], options);
		done = spawnSync('apt-get', args, options);
	}
	if (done.status !== 0 || wanted.some((w) => !has(w.command))) {
		process.stderr.write(`error: could not install ${missing.join(', ')}\ntry: ${install}\n`);
		process.exit(1);
	}
}
