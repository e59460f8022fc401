import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { measureFolder } from './measure.ts';

it('counts what lies below a folder and nothing that a link points to', async () => {
	const root = mkdtempSync(join(tmpdir(), 'mvm-measure-'));
	try {
		const options = { signal: new AbortController().signal };
		mkdirSync(join(root, 'a/b'), { recursive: true });
		const empty = await measureFolder(root, options);
		writeFileSync(join(root, 'a/b/big'), Buffer.alloc(1_000_000, 1));
		symlinkSync('/usr', join(root, 'usr'));
		const grown = (await measureFolder(root, options)) - empty;
		expect(grown).toBeGreaterThanOrEqual(1_000_000);
		expect(grown).toBeLessThan(1_100_000);
		expect(await measureFolder(join(root, 'gone'), options)).toBe(0);
	} finally {
		rmSync(root, { recursive: true });
	}
});
