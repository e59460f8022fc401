// Prints the closing line `N passed, N failed, N skipped` that .ci/run and tools/test-all.ts read.
// A file that did not load and an unhandled error each count as a failure, so a broken suite can never look green.
import type { Reporter, TestModule } from 'vitest/node';

export default class TallyReporter implements Reporter {
	onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
		const count = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
		for (const module of modules) {
			const tests = [...module.children.allTests()];
			for (const test of tests) count[test.result().state] += 1;
			// A file that did not load, or whose hooks failed: its tests are skipped, and that is no green.
			if (!module.ok() && !tests.some((test) => test.result().state === 'failed')) count.failed += 1;
		}
		process.stdout.write(`${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped\n`);
	}
}
