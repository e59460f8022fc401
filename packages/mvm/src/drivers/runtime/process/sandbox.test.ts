import { expect, it } from 'vitest';
import { type SandboxInput, sandboxArgv } from './sandbox.ts';

const input: SandboxInput = {
	hostname: 'i-00000001',
	image: {
		binds: [
			{ source: '/usr', target: '/usr' },
			{ source: '/images/x/app', target: '/opt/app/deep' },
		],
		symlinks: [['usr/lib', '/lib']],
		etcEntries: [{ source: '/images/x/etc/passwd', target: '/etc/passwd' }],
		masked: ['/usr/local'],
		env: { PATH: '/opt/app/bin:/usr/bin' },
	},
	guestDir: '/dist/guest',
	dataDir: '/d',
	linkDir: '/l',
	secretsDir: '/s',
	configDir: '/c',
	users: 'range',
	tmpBytes: 1024,
	command: ['/opt/mvm/bin/node', 'agent'],
};
const text = (change: Partial<SandboxInput> = {}): string => sandboxArgv({ ...input, ...change }).join(' ');

it('binds one thing writable and everything else read-only', () => {
	const argv = sandboxArgv(input);
	expect(argv.filter((word) => word === '--bind')).toHaveLength(1);
	expect(text()).toContain('--bind /d /data');
	for (const pair of ['/usr /usr', '/l /run/mvm/link', '/s /run/secrets', '/c /etc/mvm-config', '/dist/guest /opt/mvm'])
		expect(text()).toContain(`--ro-bind ${pair}`);
	expect(argv).not.toContain('--share-net');
	expect(argv).not.toContain('--die-with-parent');
	expect(text()).toMatch(/--remount-ro \/etc --remount-ro \/ /);
});

it('gives the supervisor two capabilities as root, and nobody any otherwise', () => {
	expect(text()).toContain('--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID');
	expect(text()).not.toContain('--unshare-user');
	expect(text({ users: 'single' })).toContain('--unshare-user --disable-userns --uid 1000 --gid 1000 --cap-drop ALL');
	expect(text({ users: 'single' })).not.toContain('--cap-add');
});

it('clears the environment and opens the way to what it mounts', () => {
	expect(text()).toContain('--clearenv');
	expect(text()).toContain('--setenv PATH /opt/app/bin:/usr/bin');
	expect(text()).toContain('--setenv MVM_BOOT_FD 3');
	for (const parent of ['/opt', '/opt/app', '/run']) expect(text()).toContain(`--perms 0755 --dir ${parent} `);
	expect(sandboxArgv(input).slice(-3)).toEqual(['--', '/opt/mvm/bin/node', 'agent']);
});
