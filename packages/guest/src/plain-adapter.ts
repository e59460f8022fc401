// The adapter of a workload that the agent knows nothing about: what it does is seen from its forwards alone.
import type { MakeAdapter } from './adapter.ts';

export const makePlainAdapter: MakeAdapter = () => ({
	beforeStart: async () => ({}),
	prepareSleep: async () => ({ ready: true }),
	resume: async () => {},
	busy: async () => [],
});
