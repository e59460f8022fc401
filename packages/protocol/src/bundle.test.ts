import { build } from 'esbuild';
import { expect, it } from 'vitest';

it('costs the guest little: what it does not use is left out of its bundle', async () => {
	const { metafile } = await build({
		stdin: {
			contents: "export { decodeGuestRequest, encodeGuestResponse, FrameParser, GuestConfig, LinkHello } from './index.ts';",
			resolveDir: import.meta.dirname,
		},
		bundle: true,
		write: false,
		minify: true,
		metafile: true,
		platform: 'node',
		format: 'esm',
	});
	const [output] = Object.values(metafile.outputs);
	const used = Object.entries(output?.inputs ?? {}).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
	expect(used.map(([path]) => path).filter((path) => /\/locales\/|json-schema|\/src\/(api|deploy)\//.test(path))).toEqual([]);
	expect(output?.bytes).toBeGreaterThan(10_000);
	expect(output?.bytes).toBeLessThan(80_000);
});
