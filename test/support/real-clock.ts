// The real clock for tests that wait on real things (a server, a process).
export { systemClock as realClock } from '../../packages/mvm/src/drivers/clock/system.ts';
