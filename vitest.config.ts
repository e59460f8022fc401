import { defineConfig } from 'vitest/config';

// unit: pure and fast, not isolated. postgres: a real server, one database per file. host: needs root, bubblewrap and
// cgroups for real. e2e: the whole platform as processes. Each prints why when it has to skip.
// A poll that waits for something real must not depend on how busy the machine is.
const shared = { pool: 'forks', environment: 'node', expect: { poll: { timeout: 4_000, interval: 20 } } } as const;
export default defineConfig({
	test: {
		reporters: ['default', './test/support/tally-reporter.ts'],
		projects: [
			{
				test: {
					...shared,
					name: 'unit',
					isolate: false,
					include: ['packages/*/src/**/*.test.ts', 'tools/**/*.test.ts', 'test/unit/**/*.test.ts', 'test/golden/**/*.test.ts'],
					exclude: ['**/*.pg.test.ts', '**/*.host.test.ts', '**/node_modules/**'],
				},
			},
			{
				test: {
					...shared,
					name: 'postgres',
					isolate: false,
					include: ['packages/**/*.pg.test.ts', 'test/postgres/**/*.test.ts'],
					globalSetup: ['test/support/postgres-server.ts'],
					testTimeout: 30_000,
					hookTimeout: 60_000,
				},
			},
			{
				test: {
					...shared,
					name: 'host',
					include: ['packages/**/*.host.test.ts', 'test/host/**/*.test.ts', 'test/security/**/*.test.ts'],
					fileParallelism: false,
					testTimeout: 60_000,
					hookTimeout: 120_000,
				},
			},
			{
				test: {
					...shared,
					name: 'e2e',
					include: ['test/e2e/**/*.test.ts'],
					fileParallelism: false,
					testTimeout: 600_000,
					hookTimeout: 300_000,
				},
			},
		],
	},
});
