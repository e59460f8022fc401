import { describe, expect, it } from 'vitest';
import { openApiDocument, ROUTES } from '../index.ts';

describe('the OpenAPI document', () => {
	const document = JSON.parse(JSON.stringify(openApiDocument('1.2.3'))) as {
		openapi: string;
		info: { version: string };
		paths: Record<
			string,
			Record<string, { operationId: string; parameters: { name: string; in: string }[]; requestBody?: object }>
		>;
	};
	const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));

	it('describes every route once', () => {
		expect(document).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' } });
		expect(operations.map((o) => o.operationId).sort()).toEqual(Object.keys(ROUTES).sort());
	});

	it('names every parameter of a path', () => {
		for (const [path, methods] of Object.entries(document.paths)) {
			const names = [...path.matchAll(/\{([a-z]+)\}/g)].map(([, name]) => name);
			for (const { parameters } of Object.values(methods))
				expect(parameters.filter((p) => p.in === 'path').map((p) => p.name)).toEqual(names);
		}
	});

	it('refers to nothing it does not hold', () => {
		const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref);
		expect(new Set(refs)).toEqual(new Set(['#/components/schemas/Problem']));
	});
});
