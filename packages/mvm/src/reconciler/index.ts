// The door of the reconciler.
export { Reconciler, type ReconcilerDeps } from './reconciler.ts';
