// The one door of the guest package: the hook that workload adapters implement. The agent itself is src/main.ts, bundled.
export type { AdapterContext, CommandResult, Log, MakeAdapter, SleepReadiness, WorkloadAdapter } from './adapter.ts';
