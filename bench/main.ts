// Placeholder module so that the layer check has a folder; replaced by the benchmarks.
export {};
