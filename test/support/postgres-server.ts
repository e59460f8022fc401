// Starts one real Postgres for the `postgres` test project. Filled by the state package's tests.
export function setup(): void {}
