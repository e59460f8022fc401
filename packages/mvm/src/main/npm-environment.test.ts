import { expect, it } from 'vitest';
import { npmEnvironment, withNpmFolder } from './npm-environment.ts';

const system = '/usr/bin:/bin';

it('passes on what tells of npm and nothing else', () => {
	const env = {
		HOME: '/home/op',
		npm_config_registry: 'https://r',
		HTTPS_PROXY: 'http://p',
		npm_config_user_agent: 'x',
		TOKEN: 's',
	};
	expect(npmEnvironment(env, () => false)).toEqual({ npm_config_registry: 'https://r', HTTPS_PROXY: 'http://p' });
	expect(npmEnvironment({ HOME: '/home/op' }, (path) => path === '/home/op/.npmrc')).toEqual({
		npm_config_userconfig: '/home/op/.npmrc',
	});
});

it("lets the operator's own choice of a user configuration stand", () => {
	const env = { HOME: '/home/op', npm_config_userconfig: '/elsewhere/npmrc' };
	expect(npmEnvironment(env, () => true)).toEqual({ npm_config_userconfig: '/elsewhere/npmrc' });
});

it('looks for npm behind the system folders only', () => {
	const env = { PATH: 'relative:/home/op/.nvm/bin:/usr/bin' };
	expect(withNpmFolder(system, env, () => true)).toBe(system);
	expect(withNpmFolder(system, env, (path) => path === '/home/op/.nvm/bin/npm')).toBe(`${system}:/home/op/.nvm/bin`);
	expect(withNpmFolder(system, env, () => false)).toBe(system);
});
